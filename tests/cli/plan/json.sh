# The same facts for programs; and a name that is hostile to terminals and to JSON.
name=$(printf 'img/2_\033[31m\377 x')
mkdir -p "$name"
cp "$SOURCE/tests/golden/data/dataset/tree/simple/train/4_iwl 1girl/s0.png" "$name/"
"$LX" plan --train_data_dir img --resolution 128 --enable_bucket --min_bucket_reso 64 \
    --max_bucket_reso 256 --max_train_steps 10 --json
