# Killed after its first state, a training goes on to the very bytes it would have ended with; so does
# one that is given a state by hand. What cannot be gone on with is said.
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
mkdir -p "img/3_iwl 1girl"
cp "$picture" "img/3_iwl 1girl/a.png"
cp "$picture" "img/3_iwl 1girl/b.png"
echo "iwl, 1girl, smile, hat" >"img/3_iwl 1girl/a.txt"
flags="--pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4
    --train_data_dir img --resolution 64 --network_dim 4 --learning_rate 1e-3
    --caption_extension .txt --shuffle_caption --cache_latents --train_batch_size 2
    --max_train_steps 12 --seed 42 --threads 1 --save_every_n_steps 4 --save_state --quiet"

$LX train $flags --output_dir whole --output_name a >/dev/null 2>&1 || exit 1
$LX train $flags --output_dir parts --output_name a >/dev/null 2>&1 &
while [ ! -e parts/a-step00000004-state/state.safetensors ]; do sleep 0.02; done
kill -9 $!
wait $! 2>/dev/null
$LX runs --columns status,steps | sed -n 2p | cut -c1-11
$LX resume a --quiet >/dev/null || exit 1
tensors() { $LX inspect --json "$1" | grep -o '"data_sha256": *"[^"]*"' || echo "no hash of $1"; }
[ "$(tensors whole/a.safetensors)" = "$(tensors parts/a.safetensors)" ] && echo "the same tensors"
$LX runs --columns status,steps,parent | sed -n 2p | cut -c1-15

$LX train $flags --output_dir given --output_name a --resume whole/a-step00000008-state >/dev/null 2>&1
[ "$(tensors whole/a.safetensors)" = "$(tensors given/a.safetensors)" ] && echo "the same tensors"

$LX train $flags --output_dir x --resume whole/a-step00000008-state --optimizer_type Lion
echo $?
$LX train $flags --output_dir x --resume whole/a-step00000008-state --network_dim 8
echo $?
$LX train $flags --output_dir x --resume whole
echo $?
$LX train $flags --output_dir whole --output_name a --resume whole/a-step00000012-state
echo $?
mkdir peer && echo '{"current_epoch": 1, "current_step": 4}' >peer/train_state.json
$LX train $flags --output_dir x --resume peer
echo $?
head -c 3000 whole/a-state/state.safetensors >whole/a-step00000004-state/state.safetensors
$LX train $flags --output_dir x --resume whole/a-step00000004-state
echo $?
$LX resume nothing
echo $?
# The last file cannot be written: what was trained is kept, and going on from there writes it.
mkdir -p blocked/a.safetensors
$LX train $flags --output_dir blocked --output_name a >/dev/null
echo $?
rmdir blocked/a.safetensors
$LX resume a --quiet >/dev/null
echo $?
[ "$(tensors whole/a.safetensors)" = "$(tensors blocked/a.safetensors)" ] && echo "the same tensors"
[ -e blocked/a-autosave ] || echo "no autosave is left"
