# What `lx debug` is for: models, training steps and pictures on tensors from outside. Judged by the goldens.
make=$(dirname "$LX")/tests/make_checkpoint
command -v python3 >/dev/null || { echo "skip: no python3" >&2; exit 77; }
[ -x "$make" ] && [ -e "$LX_GOLDENS/train/step_A_plain.safetensors" ] || { echo "skip: no $make or no goldens" >&2; exit 77; }
"$make" tiny base.safetensors || exit 1
cat >tensors.py <<'END'
"""pick OUT FILE NEW=OLD...    tensors of a file under other names
compare LIMIT FILE NAME FILE NAME    the relative distance of two tensors: within the limit?
list FILE    names and shapes"""
import array, json, math, struct, sys

def read(path):
    data = open(path, "rb").read()
    n = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + n])
    return {k: (v["dtype"], v["shape"], data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for k, v in header.items() if k != "__metadata__"}

def write(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + b"".join(t[2] for t in tensors.values()))

what, *rest = sys.argv[1:]
if what == "pick":
    out, path, *names = rest
    tensors = read(path)
    write(out, {n.split("=")[0]: tensors[n.split("=")[1]] for n in names})
elif what == "compare":
    limit, *sides = rest
    (_, shape_a, a), (_, shape_b, b) = (read(sides[i])[sides[i + 1]] for i in (0, 2))
    a, b = array.array("f", a), array.array("f", b)
    assert len(a) == len(b), (shape_a, shape_b)
    far = math.dist(a, b) / math.hypot(*b)
    print(sides[1], shape_a, "alike" if far <= float(limit) else "%g apart" % far)
else:
    for name, (dtype, shape, _) in sorted(read(rest[0]).items()):
        print(dtype, shape, name)
END
try() {
    OMP_NUM_THREADS=1 "$LX" debug "$@" --outputs out.safetensors
    echo "exit $?"
}
common="--base base.safetensors --text_encoder_heads 4"
pick() { python3 tensors.py pick in.safetensors "$LX_GOLDENS/$1.safetensors" $2; }
alike() { python3 tensors.py compare 1e-4 out.safetensors "$1" "$LX_GOLDENS/$2.safetensors" "$3"; }

echo "== the text encoder"
pick text/text_encoder "input_ids=cap0.ids75"
try eval text $common --inputs in.safetensors
python3 tensors.py list out.safetensors
try eval text $common --inputs in.safetensors --clip_skip 2 --max_token_length 75 --trace --threads 1
echo "== the UNet"
pick unet/forward "x=case0.x t=case0.t context=case0.context"
try eval unet $common --inputs in.safetensors
alike out unet/forward case0.out
echo "== the VAE"
pick vae/vae "x=img0.x z=img0.z"
try eval vae-encode $common --inputs in.safetensors
alike mean vae/vae img0.mean
alike logvar vae/vae img0.logvar
try eval vae-decode $common --inputs in.safetensors
alike x vae/vae img0.decoded_z
echo "== a step of training"
lora="--lora $LX_GOLDENS/train/lora_init_a.safetensors"
try eval step $common $lora --inputs "$LX_GOLDENS/train/step_A_plain.safetensors"
alike out.loss train/step_A_plain out.loss
alike mid.noise_pred train/step_A_plain mid.noise_pred
alike grad.lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight train/step_A_plain \
    grad.lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight
try eval step $common $lora --noise_offset 0.1 --max_token_length 150 --clip_skip 2 \
    --inputs "$LX_GOLDENS/train/step_I_noise_offset_150.safetensors"
echo "== a training"
name=lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_attn1_to_out_0.lora_up.weight
try eval train $common $lora --clip_skip 2 --max_token_length 225 --max_train_steps 20 --optimizer_type AdamW --lr_scheduler linear \
    --learning_rate 1e-3 --unet_lr 1e-3 --text_encoder_lr 5e-4 --gradient_accumulation_steps 2 \
    --inputs "$LX_GOLDENS/train/traj_inputs.safetensors"
python3 tensors.py list out.safetensors | grep losses
alike $name train/traj_adamw_accum2 step10.$name
echo "== a picture"
pick sample/sample "xT=xT cond=cond uncond=uncond"
try eval sample $common --inputs in.safetensors --sampler ddim --steps 10 --cfg 7.5
python3 tensors.py list out.safetensors
alike latents sample/sample ddim.latents
pick sample/sample "xT=xT ids_prompt=ids_prompt ids_negative=ids_negative sigmas=k.dpmpp_2m.normal.sigmas"
try eval sample $common --inputs in.safetensors --sampler dpmpp_2m --steps 10 --clip_skip 2 --cfg 7.5
alike latents sample/sample k.dpmpp_2m.normal.latents
echo "== tokens"
printf '"iwl, 1girl"\n"a \\u00e9\\ud83d\\ude00\\n"\n' | "$LX" debug tokens | cut -c 1-60
printf '"a"\n' | "$LX" debug tokens --max_token_length 225 | cut -c 1-30
for line in 'iwl' '"a' '"\q"' '"\u12"' '"a" b'; do
    echo "$line" | "$LX" debug tokens >/dev/null
    echo "exit $?"
done
echo "== what cannot be done"
try eval sample $common --inputs missing.safetensors
try eval sample $common --inputs in.safetensors --sampler nobody
try eval text $common --inputs in.safetensors
try eval unet $common --inputs in.safetensors
try eval step $common $lora --inputs in.safetensors
try eval step $common --inputs in.safetensors
try eval unet --inputs in.safetensors
try eval unet $common --inputs in.safetensors --max_token_length 80
try eval unet $common --inputs in.safetensors --clip_skip -1
pick unet/forward "xT=case0.x cond=case0.x"
try eval sample $common --inputs in.safetensors
pick unet/forward "xT=case0.context"
try eval sample $common --inputs in.safetensors
"$LX" debug eval nothing
echo "exit $?"
