# What a training would take, that its file has the size that was said, and that what is said to make it fit does.
plan() {
    "$LX" plan --pretrained_model_name_or_path "$SOURCE/demo/base.safetensors" \
        --train_data_dir "$SOURCE/demo/iwl" --caption_extension .txt --resolution 128 --network_dim 8 \
        --network_alpha 4 --learning_rate 1e-4 --cache_latents --output_name x --seed 1 "$@"
}
number() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" found | head -n 1; }
plan --no_timing --train_batch_size 16 --json >found
limit=$(($(number peak_bytes) * 3 / 4))
plan --no_timing --train_batch_size 16 --fit_memory "$limit" >found 2>message && exit 1
cat message
grep -c '^time ' found || true
sed -n '/^to fit in/,$p' found | sed 's/[0-9]* MB/N MB/g; s/^\(  --max_memory\) .*/\1 N/'
# each of the changes, behind the same flags
sed -n '/^to fit in/,$s/^  --/--/p' found >changes
while read -r change; do
    # shellcheck disable=SC2086
    plan --no_timing --train_batch_size 16 $change --fit_memory "$limit" | sed -n 's/^\(it fits in\) .*/\1/p'
done <changes
plan --fit_memory 100G --fit_time 9999h --max_train_steps 1 --max_train_epochs 1 >found
sed -n 's/^it fits in \([^:]*\):.*/\1/p' found
grep -c '^time  *about .*, between .* and .*:' found

# one step, then the file
plan --no_timing --json --max_train_steps 1 >found
said=$(number file_bytes)
"$LX" train --pretrained_model_name_or_path "$SOURCE/demo/base.safetensors" \
    --train_data_dir "$SOURCE/demo/iwl" --caption_extension .txt --resolution 128 --network_dim 8 \
    --network_alpha 4 --learning_rate 1e-4 --cache_latents --output_name x --seed 1 --max_train_steps 1 \
    --output_dir out --quiet >/dev/null
is=$(stat -c %s out/x.safetensors)
[ $((said - is)) -le 24 ] && [ $((is - said)) -le 24 ] || echo "file: said $said, is $is"

for wrong in '--fit_memory some' '--fit_memory 0' '--fit_time soon' '--fit_time 1h --no_timing' '--fit_memory'; do
    # shellcheck disable=SC2086
    plan $wrong 2>&1 >/dev/null | tail -n 1
done
"$LX" plan --train_data_dir "$SOURCE/demo/iwl" --caption_extension .txt --resolution 128 --fit_memory 1G 2>&1 \
    >/dev/null | tail -n 1
