# A picture, its settings, the same bytes again: repeated, with other threads, from the picture itself.
model="$LX_GOLDENS/model/tiny.safetensors"
[ -e "$model" ] || { echo "skip: no $model" >&2; exit 77; }
cp "$LX_GOLDENS/train/lora_init_a.safetensors" a.safetensors
draw() { "$LX" sample --base "$model" --text_encoder_heads 4 "$@"; }
draw -p '1girl, (smile:1.3), <lora:a:0.7>' -n lowres --seed 42 -W 64 -H 72 --steps 3 --clip_skip 2 \
    --sampler 'DPM++ SDE Karras' --threads 1
draw -p '1girl, (smile:1.3), <lora:a:0.7>' -n lowres --seed 42 -W 64 -H 72 --steps 3 --clip_skip 2 \
    --sampler dpmpp_sde_karras --threads 2 -o threads.png
cmp samples/00000-42.png threads.png || exit 1
draw --from threads.png -o again.png --preview 1 && cmp threads.png again.png || exit 1
ls preview.png
strings -n 20 again.png | sed 's/^parameters//' | sed -n '1,3p' | sed 's/Version: .*//'
draw --from threads.png --seed 43 --no_record -o other.png && ! cmp -s other.png again.png || exit 1
"$LX" runs | grep -c finished
