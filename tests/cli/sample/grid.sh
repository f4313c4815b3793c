# A sheet over three axes, as PNG and as one HTML file; JSON; a batch gives what single pictures give.
model="$LX_GOLDENS/model/tiny.safetensors"
[ -e "$model" ] || { echo "skip: no $model" >&2; exit 77; }
cp "$LX_GOLDENS/train/lora_init_a.safetensors" e-000002.safetensors
cp "$LX_GOLDENS/train/lora_init_a.safetensors" e-000010.safetensors
draw() { "$LX" sample --base "$model" --text_encoder_heads 4 -W 64 -H 64 --steps 2 "$@"; }
draw -p 'white hair' --seed 5 --grid 'lora=e-*.safetensors,none' --grid strength=0.5,1 \
    --grid 'prompt=white,black' -o g
grep -o '<th[^>]*>[^<]*' g/*grid.html
grep -c 'data:image/png;base64' g/*grid.html
draw -p 'white hair' --seed 7 --images 3 --batch 2 -o b --json | sed 's/"sha256":".*"/"sha256":"X"/'
cat >prompts.txt <<'X'
# a remark
one --d 3 --s 1
two --n bad --w 72 --l 1
X
draw --prompt_file prompts.txt --seed 9 -o p
draw --prompt_file prompts.txt -o q | wc -l
