# Held-out images are never trained, and are measured on the same draws in every run; measuring changes
# nothing of the training.
make=$(dirname "$LX")/tests/make_checkpoint
pictures=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$pictures" ] || { echo "skip: no $make or no $pictures" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
cp -r "$pictures" img && chmod -R u+w img || exit 1
tensors() { tail -c +$(($(od -An -tu8 -N8 "$1") + 9)) "$1"; }
train() { # OUT THREADS SEED FLAG...
    out=$1 threads=$2 seed=$3
    shift 3
    "$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
        --train_data_dir img --resolution 64 --network_dim 4 --learning_rate 1e-2 \
        --caption_extension .txt --train_batch_size 2 --seed "$seed" --cache_latents \
        --threads "$threads" --output_dir "$out" --output_name a --quiet "$@" >"$out.log" 2>&1 ||
        { cat "$out.log"; exit 1; }
    tensors "$out/a.safetensors" >"$out.tensors"
}
"$LX" plan --train_data_dir img --resolution 64 --caption_extension .txt --max_train_epochs 1 --seed 1 \
    --learning_rate 1e-3 --validation_split 0.25 --validation_seed 7 | sed -n '/^folders/,$p'
split="--max_train_epochs 2 --validation_split 0.25 --validation_seed 7"
train one 1 42 $split --network_dropout 0.1
train two 2 42 $split --network_dropout 0.1
train other 2 43 $split --network_dropout 0.1
cmp one.tensors two.tensors || echo "other tensors with two threads"
diff one.log two.log | grep validation
grep -c validation one.log
[ "$(grep 'step 0' one.log)" = "$(grep 'step 0' other.log)" ] && echo "another seed begins at the same loss"
[ "$(grep validation one.log | tail -1)" != "$(grep validation other.log | tail -1)" ] && echo "and ends elsewhere"
"$LX" inspect --json one/a.safetensors | grep -o '"ss_[a-z_]*valid[a-z_]*": "[^"]*"\|"ss_num_train_images": "[^"]*"'
"$LX" runs --columns name,seed,loss/validation,loss/validation/train | awk 'NF == 4' | wc -l
"$LX" runs --columns id | sed 1d >ids
"$LX" compare $(sed -n 3p ids) $(sed -n 1p ids) | sed -n '/^validation/,/^$/p' | sed 's/0\.[0-9]*/X/g; s/by [^,]*,/by X,/; s/ [ab] is lower/ one is lower/'
# Without images held out, on training images alone: the same training.
train plain 1 42 --max_train_steps 6
train watched 1 42 --max_train_steps 6 --validate_every_n_steps 2 --max_validation_steps 1
cmp plain.tensors watched.tensors && sed 's/loss [0-9.]*/loss X/' watched.log | grep validation
# Gone on with, it measures the same.
train parts 1 42 $split --network_dropout 0.1 --save_every_n_epochs 1 --save_state
train resumed 2 42 $split --network_dropout 0.1 --resume parts/a-000001-state
cmp one.tensors resumed.tensors
[ "$(grep validation one.log | tail -1)" = "$(grep validation resumed.log | tail -1)" ] && echo "the same end"
"$LX" plan --train_data_dir img --resolution 64 --validation_split 1 || echo $?
