# An alpha that is no whole number is saved as it is, beside a network_alpha that was left at its default.
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" nano nano.safetensors || exit 1
mkdir -p img/1_iwl
cp "$picture" img/1_iwl/a.png
echo iwl >img/1_iwl/a.txt
train() {
    "$LX" train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 --train_data_dir img \
        --resolution 64 --caption_extension .txt --network_dim 4 --seed 1 --threads 1 --max_train_steps 1 \
        --output_dir . --quiet "$@" >/dev/null 2>err || cat err
}
# Types and values of the alphas: a module of rank 4, a convolution.
alphas() { "$LX" inspect "$1" --tree | sed -n 's/^  UNet  *//p' | head -1; grep -ao '"[^"]*\(attn1_to_q\|resnets_0_conv1\).alpha":{"dtype":"[^"]*"' "$1" |
    sed 's/.*_\(to_q\|conv1\)/\1/' | sort -u; }
train --output_name a --network_args conv_dim=2 conv_alpha=0.5
alphas a.safetensors
train --output_name b --network_args block_dims=2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2 \
    block_alphas=1,1,1,1,1,1,1,1,1,1,1,1,1.5,1,1,1,1,1,1,1,1,1,1,1,1
alphas b.safetensors
# A LoRA that goes on from those of a file keeps its alphas.
train --output_name c --network_dim 4 --network_alpha 2.5
train --output_name d --network_weights c.safetensors
alphas d.safetensors
