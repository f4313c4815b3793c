# sd-scripts' latents beside the images: written where there are none, read to the bit, part of the data that is
# recorded and compared; what does not fit is told and encoded.
. "$SOURCE/tests/support/tiny.sh"
train() { # NAME FLAG...
    name=$1
    shift
    "$LX" train $flags --max_train_steps 2 --seed 7 --flip_aug --output_dir out --output_name "$name" "$@" \
        >"$name.out" 2>"$name.log" || { cat "$name.log"; exit 1; }
    grep 'npz' "$name.log"
}
echo "== write"
train plain
train written --latents_npz write
ls img/*
echo "== read"
train read --cache_latents_to_disk
for name in written read; do
    [ "$(tensors out/$name.safetensors)" = "$(tensors out/plain.safetensors)" ] || echo "$name: other tensors"
done
"$LX" compare plain read | grep 'latents'
"$LX" compare plain read --json | grep -c '"kind": *"latents"'
echo "== written again: as they were"
cp "img/3_iwl 1girl/a_0128x0160_sd.npz" before
train again --latents_npz write --seed 8
cmp before "img/3_iwl 1girl/a_0128x0160_sd.npz"
train over --latents_npz replace --seed 8
cmp -s before "img/3_iwl 1girl/a_0128x0160_sd.npz" && echo "not replaced"
echo "== the files belong to the run"
train kept --cache_latents_to_disk
"$LX" reproduce kept --json >told.json 2>/dev/null; echo "exit $?"
"$LX" train $flags --max_train_steps 2 --seed 9 --flip_aug --latents_npz replace -q --output_dir out --output_name x >x.out 2>x.log ||
    exit 1
"$LX" reproduce kept 2>&1 | grep 'latents'
echo "== other sizes are told"
"$LX" plan $flags --latents_npz read --resolution 128 --network_dim 4 2>&1 | grep npz
train larger --latents_npz read --resolution 128
"$LX" train $flags --latents_npz maybe 2>&1
"$LX" train $flags --latents_npz read --random_crop --output_dir out 2>&1 | tail -1
