# From the file alone: what metadata and weights prove, its exit status, and what cannot be told.
make=$(dirname "$LX")/tests/make_checkpoint
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" nano nano.safetensors || exit 1
train() {
    "$LX" train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 \
        --train_data_dir "$data" --resolution 64 --network_dim 2 --max_train_steps 2 --seed 1 --threads 1 \
        --output_dir out --network_module networks.lora "$@" >/dev/null 2>err || { cat err; exit 1; }
}
train --caption_extension .txt --learning_rate 1e-3 --output_name captioned
train --allow-untagged --learning_rate 1e-3 --output_name tagless
train --caption_extension .txt --learning_rate 1e-50 --output_name untrained
for name in captioned tagless untrained; do
    "$LX" verify out/$name.safetensors >words
    echo "$? $name"
    grep -e '^-> ' -e 'Q1 ' words
done
# The same ledger as JSON; nothing was measured.
"$LX" verify --json out/tagless.safetensors >ledger.json
echo $?
grep -c '"standing": "measured"' ledger.json
grep -e '"label"' -e '"exit_status"' -e '"certain"' ledger.json
"$LX" verify --ignore-metadata out/tagless.safetensors | grep '^->'
