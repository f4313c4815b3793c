# With a model, the memory of the largest batch; a limit too low is said with the numbers.
model="$LX_GOLDENS/model/tiny.safetensors"
[ -e "$model" ] || { echo "skip: no $model" >&2; exit 77; }
data="$SOURCE/tests/golden/data/dataset/tree/simple/train"
plan() {
    "$LX" plan --pretrained_model_name_or_path "$model" --text_encoder_heads 4 \
        --train_data_dir "$data" --caption_extension .txt --resolution 128 --enable_bucket \
        --min_bucket_reso 64 --max_bucket_reso 256 --train_batch_size 4 --network_dim 4 \
        --network_alpha 4 --learning_rate 1e-4 "$@"
}
plan | grep -c '^memory .* MB for activations'
plan --max_memory 1M >/dev/null 2>message && exit 1
grep -c 'more than the limit of' message
