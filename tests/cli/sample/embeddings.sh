# Textual inversions: by their prefix or their name, told in the picture, taken up by --from.
make=$(dirname "$LX")/tests/make_checkpoint
[ -x "$make" ] || { echo "skip: no $make" >&2; exit 77; }
"$make" tiny model.safetensors || exit 1
mkdir -p words/deep
header='{"emb_params":{"dtype":"F32","shape":[1,40],"data_offsets":[0,160]}}'
{ printf "\\$(printf %o ${#header})\0\0\0\0\0\0\0%s" "$header"; head -c 160 /dev/zero; } \
    >words/deep/easy.safetensors
draw() {
    "$LX" sample --base model.safetensors --text_encoder_heads 4 --no_record --seed 1 -W 64 -H 64 --steps 2 "$@"
    status=$?
    [ $status -eq 0 ] || echo "= $status" >&2
}
draw -p 'halo, easy' --embeddings words -o word.png
draw -p 'halo, embedding:Easy' --embeddings words -o prefix.png
draw -p 'halo, easy' -o none.png
pixels() { tail -c +"$(($(grep -abo IDAT "$1" | head -1 | cut -d: -f1) + 1))" "$1" | sha256sum; }
[ "$(pixels word.png)" = "$(pixels prefix.png)" ] && echo "prefix = word"
[ "$(pixels word.png)" != "$(pixels none.png)" ] && echo "without the folder it is a word"
grep -a -o 'TI hashes: "easy: [0-9a-f]*"' word.png | grep -c "$(sha256sum <words/deep/easy.safetensors | cut -c1-12)"
draw --from word.png --embeddings words -o again.png
cmp word.png again.png && echo "again the same bytes"
draw --from word.png -o again.png
draw -p 'halo, embedding:easy' -o none.png
draw -p 'halo, embedding:' -o none.png
head -c 100 words/deep/easy.safetensors >words/cut.safetensors
draw -p 'halo, cut' --embeddings words -o none.png
draw -p 'halo' --embeddings nowhere -o none.png
