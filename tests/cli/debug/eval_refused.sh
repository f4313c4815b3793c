# Tensors from outside that do not fit what is asked of them: each is named.
. "$SOURCE/tests/support/lora.sh"
make=$(dirname "$LX")/tests/make_checkpoint
[ -x "$make" ] || { echo "skip: no $make" >&2; exit 77; }
[ -e "$LX_GOLDENS/train/lora_init_a.safetensors" ] || { echo "skip: no goldens of LoRAs" >&2; exit 77; }
"$make" tiny base.safetensors || exit 1
try() { # FILE WHAT FLAGS...
    inputs=$1 what=$2
    shift 2
    "$LX" debug eval "$what" --base base.safetensors --inputs "$inputs" --outputs out.safetensors --text_encoder_heads 4 "$@"
    echo "$?"
}
make_tensors ids.safetensors '' 'input_ids=I64[1,1,77]'
make_tensors none.safetensors '' 'x=F32[1,4,8,8]'
make_tensors shape.safetensors '' 'x=F32[4,8,8]' 't=I64[1]' 'context=F32[1,77,40]'
make_tensors ids_kind.safetensors '' 'input_ids=F32[1,1,77]'
make_tensors step.safetensors '' 'in.latents=F32[1,4,8,8]' 'in.noise=F32[1,4,8,8]' 'in.timesteps=F32[1]' \
    'in.input_ids=I64[1,1,77]' 'in.loss_weights=F32[1]'
make_tensors odd.safetensors '' 'in.latents=F32[1,4,8,8]' 'in.noise=F32[1,4,8,16]' 'in.timesteps=I64[1]' \
    'in.input_ids=I64[1,1,77]' 'in.loss_weights=F32[1]'
make_tensors offset.safetensors '' 'in.latents=F32[1,4,8,8]' 'in.noise=F32[1,4,8,8]' 'in.timesteps=I64[1]' \
    'in.input_ids=I64[1,1,77]' 'in.loss_weights=F32[1]' 'in.offset_noise=F32[1,3]'
make_tensors xt.safetensors '' 'xT=F32[1,4,8,8]' 'ids_prompt=I64[1,1,76]' 'ids_negative=I64[1,1,77]'
make_tensors noise.safetensors '' 'xT=F32[1,4,8,8]' 'cond=F32[1,77,40]' 'uncond=F32[1,77,40]' 'noise_list=F32[1,4,8,7]'
make_tensors sigmas.safetensors '' 'xT=F32[1,4,8,8]' 'cond=F32[1,77,40]' 'uncond=F32[1,77,40]' 'sigmas=F32[1]'
try ids.safetensors nothing
try ids.safetensors text --text_encoder_heads 0
try ids.safetensors text --threads -1
try ids.safetensors text --max_token_length 150
try ids_kind.safetensors text
try nowhere.safetensors text
try none.safetensors unet
try shape.safetensors unet
for file in step odd offset; do try $file.safetensors step --lora "$LX_GOLDENS/train/lora_init_a.safetensors" --noise_offset 0.1; done
try step.safetensors step --lora
for file in xt noise sigmas; do try $file.safetensors sample --steps 2 --sampler ddim; done
try noise.safetensors sample --steps 0
"$LX" debug eval text --base none.safetensors --inputs ids.safetensors --outputs out.safetensors; echo "$?"
"$LX" debug eval; echo "$?"
"$LX" debug eval sample; echo "$?"
ls out.safetensors 2>/dev/null
