# Whether the VAE encodes beside the steps or between them, with whatever threads, stopped and gone on with, for
# images of several shapes with masks: the same tensors. What a GPU, a cache or no thread make of it is said.
make=$(dirname "$LX")/tests/make_checkpoint
pictures=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$pictures" ] || { echo "skip: no $make or no $pictures" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
cp -r "$pictures" img && chmod -R u+w img || exit 1
flags="--pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 --train_data_dir img --network_dim 2
    --caption_extension .txt --max_train_steps 4 --seed 42 --output_name a"
shapes="--resolution 128 --enable_bucket --min_bucket_reso 64 --train_batch_size 2 --gradient_accumulation_steps 2
    --random_crop --flip_aug --color_aug --alpha_mask"
train() { # OUT FLAG...
    out=$1
    shift
    "$LX" train $flags $shapes --learning_rate 1e-2 --output_dir "$out" --quiet "$@" >log 2>&1 || { cat log; exit 1; }
    tail -c +$(($(od -An -tu8 -N8 "$out/a.safetensors") + 9)) "$out/a.safetensors" >"$out.tensors"
}
train between --threads 2 --encode_ahead false
train beside --threads 2 --encode_ahead true
train one --threads 1 --encode_ahead true --save_every_n_steps 2 --save_state
train resumed --threads 1 --encode_ahead true --resume one/a-step00000002-state
train stopped --threads 1 --stop_after_steps 1 --encode_ahead true
train auto --threads 1 --resume stopped/a-autosave
for out in beside one resumed auto; do
    cmp -s between.tensors $out.tensors && echo "$out: the same tensors"
done
planned() { # FLAG...
    "$LX" plan $flags --resolution 64 --no_timing --json "$@" | sed -n 's/.*"encodes_ahead": *\([a-z]*\).*/\1/p'
}
echo "ahead: $(planned --encode_ahead true --threads 1), $(planned --encode_ahead false --threads 1)," \
    "$(planned --encode_ahead true --cache_latents), $(planned --max_data_loader_n_workers 0 --threads 1)"
"$LX" plan $flags --resolution 64 --no_timing --encode_ahead true | grep -o 'the VAE, .*\|the next images.*'
for more in "--cache_latents" "--device cuda" "--max_data_loader_n_workers 0"; do
    # shellcheck disable=SC2086
    "$LX" plan $flags --resolution 64 --no_timing --encode_ahead true $more 2>&1 | grep -- '--encode_ahead'
done
"$LX" train $flags --resolution 64 --encode_ahead perhaps
echo "exit $?"
