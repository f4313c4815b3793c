# With base and data: untrained is proven and measures exactly zero, tagless is never LEARNED; the
# same bytes for every number of threads, others for another seed; several files are compared.
make=$(dirname "$LX")/tests/make_checkpoint
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" nano nano.safetensors || exit 1
train() {
    "$LX" train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 \
        --train_data_dir "$data" --resolution 64 --network_dim 2 --max_train_steps 16 --seed 1 \
        --threads 1 --output_dir out --network_module networks.lora "$@" >/dev/null 2>err ||
        { cat err; exit 1; }
}
verify() {
    "$LX" verify --base nano.safetensors --text_encoder_heads 2 --data "$data" --draws 4 --tags 1 \
        "$@" 2>err
    status=$?
    case $status in 0 | 1[0-4]) ;; *) cat err; exit 1 ;; esac
}
train --caption_extension .txt --learning_rate 2e-3 --save_every_n_steps 8 --output_name captioned
train --allow-untagged --learning_rate 2e-3 --output_name tagless
train --caption_extension .txt --learning_rate 1e-50 --output_name untrained

verify --threads 1 --json out/untrained.safetensors >untrained.json
[ $status -eq 11 ] || { cat untrained.json; exit 1; }
grep -A9 '"id": "D1"' untrained.json | grep -e '"estimate": 0,' -e '"low": 0,' -e '"high": 0,'
grep -A6 '"id": "D2"' untrained.json | grep '"estimate"'
grep -c '"id": "D0"' untrained.json

verify --threads 1 --json out/tagless.safetensors >tagless.json
[ $status -ne 0 ] || { cat tagless.json; exit 1; }
grep -A5 '"id": "A6"' tagless.json | grep -c 'without any caption file'

verify --threads 1 --images 7 --html page.html --json out/captioned-step00000008.safetensors \
    out/captioned.safetensors >one.json
for threads in 1 2; do
    verify --threads $threads --images 7 --tags 0 --html page$threads.html --json \
        out/captioned.safetensors >threads$threads.json
done
cmp threads1.json threads2.json && cmp page1.html page2.html || exit 1
for id in A0 A6 B4 B9 B9s B10 D0 D1 D2 D3 D4 D4b D5 D6 D8n D10 C3; do
    grep -q "\"id\": \"$id\"" one.json || echo "no $id"
done
grep -e '"compared_by"' -e '"best"' one.json
grep -c '<svg' page.html
verify --threads 1 --seed 7 --images 7 --tags 0 --json out/captioned.safetensors >other.json
cmp -s threads1.json other.json && echo "the seed changes nothing"
"$LX" verify --base nano.safetensors --text_encoder_heads 2 --data "$data" --identifier nobody \
    out/captioned.safetensors 2>err
echo $?
grep -c 'identifier nobody: no caption of .* has this tag' err

# Strengths are strengths, whatever the cells ran with: the best one, and the text encoder's share along the axis.
for way in '1 0' '0.5 0' '1 1' '0.5 0.5'; do
    verify --threads 1 --images 6 --tags 0 --strength "${way% *}" --te-strength "${way#* }" --json \
        out/captioned.safetensors >"strength ${way}.json"
done
point() { # the gain at that strength
    tr -d ' \n' <"$1" | grep -o "{\"strength\":$2,\"estimate\":[^,]*" || echo "none in $1"
}
[ "$(point 'strength 1 0.json' 0.5)" = "$(point 'strength 0.5 0.json' 0.5)" ] || echo "the text encoder is not along"
[ "$(point 'strength 1 1.json' 0.5)" = "$(point 'strength 0.5 0.5.json' 0.5)" ] || echo "not the same at 0.5"
best() {
    grep -A8 '"id": "D3"' "$1" | sed -n 's/.*"estimate": \([0-9.]*\).*/\1/p'
}
awk -v a="$(best 'strength 1 1.json')" -v b="$(best 'strength 0.5 0.5.json')" \
    'BEGIN { print (a > 0 && b / a > 0.9 && b / a < 1.1) ? "one best strength" : a " and " b }'
