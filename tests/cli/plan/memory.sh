# With a model, the memory at the peak, part by part; a limit too low is said with the numbers.
model="$LX_GOLDENS/model/tiny.safetensors"
[ -e "$model" ] || { echo "skip: no $model" >&2; exit 77; }
data="$SOURCE/tests/golden/data/dataset/tree/simple/train"
plan() {
    "$LX" plan --pretrained_model_name_or_path "$model" --text_encoder_heads 4 \
        --train_data_dir "$data" --caption_extension .txt --resolution 128 --enable_bucket \
        --min_bucket_reso 64 --max_bucket_reso 256 --train_batch_size 4 --network_dim 4 \
        --network_alpha 4 --learning_rate 1e-4 --no_timing "$@"
}
plan | grep -A8 '^memory' | sed 's/[0-9][0-9.]*\( MB\)/N\1/; s/  */ /g'
number() { plan --json "$@" | sed -n "s/.*\"$key\": *\([0-9]*\).*/\1/p"; }
key=peak_bytes
peak=$(number --cache_latents)
key=arena_bytes
arena=$(number --cache_latents)
# The limit is of the whole training, not of activations alone.
limit=$((peak - arena / 4))
key=peak_bytes
less=$(number --cache_latents --max_memory "$limit")
[ "$less" -le $((limit + limit / 50)) ] && echo "keeps to the limit"
plan --max_memory 1M >/dev/null 2>message && exit 1
grep -c 'more than the limit of' message
