# Whatever is drawn at random: the same training twice, with one thread and with two, and gone on with in
# the middle gives the same tensors.
make=$(dirname "$LX")/tests/make_checkpoint
pictures=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$pictures" ] || { echo "skip: no $make or no $pictures" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
cp -r "$pictures" img && chmod -R u+w img || exit 1
tensors() { tail -c +$(($(od -An -tu8 -N8 "$1") + 9)) "$1"; }
train() { # OUT THREADS FLAG...
    out=$1 threads=$2
    shift 2
    "$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
        --train_data_dir img --resolution 64 --network_dim 4 --learning_rate 1e-2 \
        --caption_extension .txt --train_batch_size 2 --max_train_steps 6 --seed 42 \
        --threads "$threads" --output_dir "$out" --output_name a --quiet "$@" >log 2>&1 ||
        { cat log; exit 1; }
    tensors "$out/a.safetensors" >"$out.tensors"
}
unset XDG_CACHE_HOME
train plain 1 --cache_latents
check() { # NAME FLAG...
    name=$1
    shift
    train one 1 --save_every_n_steps 3 --save_state "$@"
    train two 2 "$@"
    train resumed 2 --resume one/a-step00000003-state "$@"
    cmp -s one.tensors two.tensors || { echo "$name: other tensors with two threads"; exit 1; }
    cmp -s one.tensors resumed.tensors || { echo "$name: other tensors after a resume"; exit 1; }
    cmp -s one.tensors plain.tensors && { echo "$name: it changes nothing"; exit 1; }
    rm -rf one two resumed
}
check network_dropout --cache_latents --network_dropout 0.2
check rank_dropout --cache_latents --network_args rank_dropout=0.25
check bf16 --cache_latents --mixed_precision bf16
check on_disk --network_dropout 0.3 --flip_aug --latent_cache_dir kept
# What is kept on disk is what would be encoded: written, read, and read where a file was cut.
train fresh 1 --cache_latents --flip_aug
train written 1 --cache_latents_to_disk --flip_aug
n=$(find "$HOME/.cache/lx/latents" -name '*.safetensors' | wc -l)
[ "$n" -eq 16 ] || { echo "$n files kept"; exit 1; }
train read 2 --cache_latents_to_disk --flip_aug
find "$HOME/.cache/lx/latents" -name '*.safetensors' | head -3 | while read -r file; do
    head -c 500 "$file" >cut && cp cut "$file"
done
train mended 1 --cache_latents_to_disk --flip_aug
for out in written read mended; do
    cmp -s fresh.tensors $out.tensors || { echo "latents on disk: other tensors when $out"; exit 1; }
done
check module_dropout --cache_latents --network_args module_dropout=0.3 --gradient_accumulation_steps 2
# Images that a thread reads beside the steps are those that are read in between.
train beside 2 --flip_aug --random_crop --color_aug
train between 1 --flip_aug --random_crop --color_aug --max_data_loader_n_workers 0
cmp -s beside.tensors between.tensors || echo "other tensors when images are read beside the steps"
