# A LoRA that goes on from a file's: what of it is trained, what is new, and what does not fit the flags.
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" nano nano.safetensors || exit 1
mkdir -p img/1_iwl
cp "$picture" img/1_iwl/a.png
echo iwl >img/1_iwl/a.txt
train() { # NAME FLAG...
    name=$1
    shift
    "$LX" train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 --train_data_dir img \
        --resolution 64 --caption_extension .txt --seed 1 --threads 1 --max_train_steps 1 --learning_rate 1e-3 \
        --output_dir . --output_name "$name" "$@" >log 2>&1
    status=$?
    grep '^note: --network_weights\|^note: --network_alpha\|^lx train:' log
    [ $status -eq 0 ] || { echo "exit $status"; return; }
    "$LX" inspect "$name.safetensors" --tree | sed -n 's/^  UNet  *[0-9].*/&/p; s/^  text encoder  *[0-9].*/&/p'
}
train whole --network_dim 4 --network_alpha 2
echo "- the UNet alone"
train unet --network_weights whole.safetensors --network_train_unet_only
echo "- and from there both"
train both --network_weights unet.safetensors
echo "- or what the file has"
train same --network_weights unet.safetensors --dim_from_weights
"$LX" inspect --metadata same.safetensors | grep 'ss_network_dim\|ss_network_alpha'
echo "- blocks without a rate have no modules"
train blocks --network_weights whole.safetensors --network_dim 4 --network_alpha 2 --network_args \
    down_lr_weight=0,0,0,0,0,0,0,0,0,0,0,0
train blocks --network_weights whole.safetensors --dim_from_weights --network_args down_lr_weight=zeros
echo "- what was asked for and is not so"
train x --network_weights whole.safetensors --network_dim 4 --network_alpha 4
train x --network_weights whole.safetensors --network_dim 8
dims=4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4
train x --network_weights whole.safetensors --network_args block_dims=$dims,8
train x --network_weights whole.safetensors --network_args block_dims=4,$dims block_alphas=4,$dims
train fits --network_weights whole.safetensors --network_args block_dims=4,$dims
train conv --network_dim 4 --network_alpha 2 --network_args conv_dim=2 conv_alpha=1
train x --network_weights conv.safetensors --network_args conv_dim=2 conv_alpha=2
train x --network_weights conv.safetensors --network_args conv_dim=4
train x --network_weights conv.safetensors --network_args conv_dim=2 conv_alpha=1
train x --network_weights unet.safetensors --network_train_text_encoder_only
echo "- what is recorded is what the LoRA has"
"$LX" runs --columns name,dim,alpha 'name in (both, same, fits)' 2>&1 || "$LX" runs --columns name,dim,alpha
