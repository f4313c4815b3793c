# Images trained on the folder's words had no caption, and the report says so.
make=$(dirname "$LX")/tests/make_checkpoint
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" nano nano.safetensors || exit 1
train() {
    "$LX" -q train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 \
        --train_data_dir "$data" --resolution 64 --network_dim 2 --max_train_steps 1 --output_dir out \
        --network_module networks.lora "$@" >/dev/null 2>err || { cat err; exit 1; }
}
train --caption_extension .txt --output_name captioned
train --allow-untagged --output_name untagged
for name in captioned untagged; do
    "$LX" report $name --no-images --format md | grep -o -e 'Every image.*' -e 'No image.*'
done
