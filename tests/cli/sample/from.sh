# Pictures of web UIs: what is said about them, and what they come to.
model="$LX_GOLDENS/model/tiny.safetensors"
[ -e "$model" ] || { echo "skip: no $model" >&2; exit 77; }
for name in no_negative.png japanese.png multiline_prompt.png none.png nhh.png; do
    cp "$SOURCE/tests/golden/lora/a1111/$name" .
done
cp "$LX_GOLDENS/train/lora_init_a.safetensors" x.safetensors
draw() {
    "$LX" sample --base "$model" --text_encoder_heads 4 --no_record -W 64 -H 64 --steps 1 "$@"
    echo "= $?" >&2
}
for name in no_negative japanese multiline_prompt none nhh; do
    draw --from $name.png -o out-$name.png
done
"$LX" inspect out-japanese.png out-multiline_prompt.png | grep -v Version
draw --from japanese.png --noise a1111-cpu --sampler unipc -p 'cat' -n '' -q -o flags.png
"$LX" inspect flags.png | grep -v Version
