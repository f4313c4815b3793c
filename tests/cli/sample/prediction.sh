# v-prediction, zero terminal SNR, another VAE and heads: in the picture, taken by --from, in the run's spec.
model="$LX_GOLDENS/model/tiny.safetensors"
[ -e "$model" ] || { echo "skip: no $model" >&2; exit 77; }
draw() {
    "$LX" sample --base "$model" --text_encoder_heads 4 -p cat --seed 1 -W 64 -H 64 --steps 2 "$@" >/dev/null || exit 1
}
spec() { "$LX" show --json "$1" | sed -n 's/.*"spec_hash": "\([0-9a-f]*\)".*/\1/p'; }
settings() { strings -n 20 "$1" | sed -n 's/^Steps: .*Model: tiny, \(.*\), Version.*/\1/p'; }
draw -o plain.png --name plain
draw -o v.png --name v --v_parameterization --zero_terminal_snr
settings plain.png
settings v.png
"$LX" sample --base "$model" --text_encoder_heads 4 --from v.png -o again.png --name again >/dev/null
cmp v.png again.png
"$LX" sample --base "$model" --text_encoder_heads 4 --from v.png -o back.png --no_record \
    --v_parameterization=false --zero_terminal_snr=false >/dev/null
cmp plain.png back.png
draw -o heads.png --name heads --text_encoder_heads 2
cp "$model" vae.safetensors
draw -o vae.png --name vae --vae vae.safetensors
[ "$(spec v)" = "$(spec again)" ] && echo "the same spec"
for run in plain v heads vae; do spec $run; done | sort -u | wc -l
"$LX" show --json vae | grep -A3 '"vae": {' | sed 's/[0-9a-f]\{64\}/HASH/'
"$LX" compare vae plain 2>/dev/null | sed -n '/^base/,/^$/p' | sed 's/[0-9a-f]\{60,64\}/HASH/'
