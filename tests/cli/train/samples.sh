# Pictures on the way: the peer's names, into the run, without a change to what is trained.
model="$LX_GOLDENS/model/tiny.safetensors"
[ -e "$model" ] || { echo "skip: no $model" >&2; exit 77; }
make=$(dirname "$LX")/tests/make_checkpoint
[ -x "$make" ] && "$make" nano nano.safetensors || { echo "skip: no $make" >&2; exit 77; }
train() {
    "$LX" train --pretrained_model_name_or_path "$model" --text_encoder_heads 4 \
        --train_data_dir "$SOURCE/tests/golden/data/dataset/tree/simple/train" \
        --caption_extension .txt --resolution 64 --network_dim 4 --learning_rate 1e-3 \
        --cache_latents --seed 1 --max_train_steps 4 --no_metadata "$@"
}
printf '# remark\nhalo --w 64 --h 64 --s 2 --d 42\n\nsmile --w 64 --h 72 --s 2 --ss euler_a\n' >p.txt
train --output_dir a --output_name n --sample_prompts p.txt --sample_every_n_steps 2 \
    --sample_at_first >out 2>err || { cat err; exit 1; }
train --output_dir b --output_name n >/dev/null 2>&1 || exit 1
ls a/sample | sed 's/_2[0-9]\{13\}/_TIME/'
# The metadata have the run's id and times; the tensors are the last bytes.
bytes=$(($(stat -c %s b/n.safetensors) - 8 - $(od -An -t u8 -N 8 b/n.safetensors)))
tail -c "$bytes" a/n.safetensors >a.raw
tail -c "$bytes" b/n.safetensors >b.raw
cmp a.raw b.raw && echo "the same tensors"
grep -c ^sample out
train --output_dir c --sample_prompts p.txt --sample_every_n_epochs 1 --sample_every_n_steps 1 \
    --sample_compat >out 2>err || { cat err; exit 1; }
ls c/sample | sed 's/_2[0-9]\{13\}/_TIME/'
train --output_dir d --sample_prompts absent.txt --sample_at_first >/dev/null 2>err && exit 1
sed -n '$p' err
printf 'cat AND dog\n' >and.txt
train --output_dir d --sample_prompts and.txt --sample_at_first >/dev/null 2>err && exit 1
sed -n '$p' err
# Without cached latents the VAE encodes between the pictures, of whose weights F16 ones are copies.
uncached() {
    "$LX" train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 \
        --train_data_dir "$SOURCE/tests/golden/data/dataset/tree/simple/train" --caption_extension .txt \
        --resolution 64 --network_dim 4 --learning_rate 1e-3 --seed 1 --max_train_steps 8 --output_name n \
        --no_metadata --output_dir "$@" >/dev/null 2>err || cat err
}
uncached e
uncached f --sample_prompts p.txt --sample_every_n_steps 2 --sample_at_first
for dir in e f; do
    "$LX" inspect --json $dir/n.safetensors | grep -o '"data_sha256": *"[^"]*"' >$dir.hash || echo "no hash"
done
cmp e.hash f.hash && echo "the same tensors"
