# A tag, a flag and a file found in a folder are the same; strength 0 and lbw=NONE are no LoRA.
model="$LX_GOLDENS/model/tiny.safetensors"
[ -e "$model" ] || { echo "skip: no $model" >&2; exit 77; }
cp "$LX_GOLDENS/train/lora_init_a.safetensors" a.safetensors
mkdir -p loras/deep
cp "$LX_GOLDENS/train/lora_init_a.safetensors" loras/deep/b.safetensors
for x in u v w x y z; do ln -s . "loras/$x"; done # in circles
draw() {
    "$LX" sample --base "$model" --text_encoder_heads 4 --no_record --seed 1 -W 64 -H 64 --steps 2 \
        --lora_dir loras "$@"
}
draw -p 'halo, <lora:a:0.7>' -o tag.png
draw -p 'halo, ' --lora a.safetensors:0.7 -o flag.png
draw -p 'halo, <lora:b:0.7>' -o dir.png
draw -p 'halo, <lora:a:0>' -o zero.png
draw -p 'halo, ' -o none.png
draw -p 'halo, <lora:a:1:lbw=NONE>' -o blocks.png
# The texts in the files differ, the pixels must not: compare the IDAT chunks.
pixels() { tail -c +"$(($(grep -abo IDAT "$1" | head -1 | cut -d: -f1) + 1))" "$1" | sha256sum; }
[ "$(pixels tag.png)" = "$(pixels flag.png)" ] && echo "flag = tag"
[ "$(pixels tag.png)" = "$(pixels dir.png)" ] && echo "folder = tag"
[ "$(pixels zero.png)" = "$(pixels none.png)" ] && echo "strength 0 = none"
[ "$(pixels blocks.png)" = "$(pixels none.png)" ] && echo "lbw=NONE = none"
[ "$(pixels tag.png)" != "$(pixels none.png)" ] && echo "0.7 is something"
draw -p 'halo, <lora:nope:1>' -o nope.png 2>nope.txt || echo "no nope: $?"
grep -c 'there is no LoRA "nope" in the current folder or loras' nope.txt
