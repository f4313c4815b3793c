# From the state of a training that ended in the middle of an epoch more steps follow as if they had been asked for at first;
# a LoRA under its name that is not what the state would make is no reason to leave it.
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" nano nano.safetensors || exit 1
mkdir -p "img/4_iwl 1girl"
for name in a b; do
    cp "$picture" "img/4_iwl 1girl/$name.png"
    echo "iwl, 1girl, $name" >"img/4_iwl 1girl/$name.txt"
done
train() {
    "$LX" train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 --train_data_dir img \
        --resolution 64 --caption_extension .txt --network_dim 4 --learning_rate 1e-3 --cache_latents --seed 1 \
        --threads 1 --quiet "$@" >/dev/null 2>err
}
tensors() { "$LX" inspect --json "$1" | grep -o '"data_sha256": *"[^"]*"' || echo "no hash of $1"; }
same() { [ "$(tensors "$1")" = "$(tensors "$2")" ] && echo "the same tensors"; }

# 8 batches an epoch
train --max_train_steps 5 --save_state --output_dir first --output_name n || exit 1
cp first/n.safetensors five.safetensors
for steps in 6 10 20; do
    train --max_train_steps $steps --output_dir more --output_name n$steps --resume first/n-state || exit 1
    train --max_train_steps $steps --output_dir whole --output_name n$steps || exit 1
    same more/n$steps.safetensors whole/n$steps.safetensors
done
train --max_train_steps 5 --output_dir first --output_name n --resume first/n-state
echo $?
cp whole/n6.safetensors first/n.safetensors
train --max_train_steps 5 --output_dir first --output_name n --resume first/n-state
echo $?
same first/n.safetensors five.safetensors

# The file of an epoch that could not be saved is made when it goes on.
mkdir -p late/e-000001.safetensors
train --max_train_epochs 2 --save_every_n_epochs 1 --output_dir late --output_name e
echo $?
rmdir late/e-000001.safetensors
"$LX" resume e --quiet >/dev/null
echo $?
train --max_train_epochs 2 --save_every_n_epochs 1 --output_dir early --output_name e || exit 1
same late/e-000001.safetensors early/e-000001.safetensors
same late/e.safetensors early/e.safetensors
