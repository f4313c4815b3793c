# What --network_args may say, as sd-scripts and LyCORIS read it: what of it the LoRA gets, and values that make no sense.
base="$SOURCE/demo/base.safetensors"
plan() {
    "$LX" plan --pretrained_model_name_or_path "$base" --train_data_dir "$SOURCE/demo/iwl" --caption_extension .txt \
        --resolution 64 --network_dim 4 --network_alpha 4 --learning_rate 1e-4 --no_timing --max_train_steps 1 \
        --network_args "$@" 2>said | sed -n 's/^LoRA  *\([0-9]* modules, [0-9]* numbers\).*/\1/p' >told
    grep '^lx' said || cat told
}
twos=2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2
for args in conv_dim=x 'conv_dim=2 conv_alpha=much' block_dims=1,2 block_dims=$twos,2 block_dims=${twos%2}-1 \
    "block_dims=$twos block_alphas=$twos conv_block_dims=$twos conv_block_alphas=$twos" \
    "block_dims=$twos block_alphas=1,x" "block_dims=$twos conv_block_dims=1.5" \
    'down_lr_weight=sine mid_lr_weight=0.5 up_lr_weight=reverse_linear+0.1 block_lr_zero_threshold=0.3' \
    'mid_lr_weight=x' 'up_lr_weight=much' 'mid_lr_weight=1 block_lr_zero_threshold=x' rank_dropout=2 rank_dropout=x module_dropout=x \
    loraplus_unet_lr_ratio=0 loraplus_text_encoder_lr_ratio=x no_such=1 no_value; do
    echo "== $args"
    # shellcheck disable=SC2086
    plan $args
done
lycoris() { plan "$@" --network_module lycoris.kohya; }
for args in algo=oft algo=odd preset=none conv_dim=x 'algo=loha dropout=0.1' rank_dropout=2 module_dropout=x factor=x \
    conv_alpha=-1 loraplus_unet_lr_ratio=0 no_such=1 \
    'algo=lokr decompose_both=True full_matrix=True unbalanced_factorization=True dropout=None preset=attn-only' \
    'algo=lora rs_lora=True loraplus_unet_lr_ratio=2 module_dropout=0.1 conv_dim=2 conv_alpha=1'; do
    echo "== lycoris: $args"
    # shellcheck disable=SC2086
    lycoris $args
done
