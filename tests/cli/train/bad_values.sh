for words in '--network_dim many' '--learning_rate fast' '--save_precision fp8' '--network_dim' \
    '--resolution 512x512' '--lr_warmup_steps 1.5' '--max_memory lots' '--seed -1' \
    '--network_args conv_dim' '--network_args conv_dmi=4' '--network_args block_dims=1,2' \
    '--network_args down_lr_weight=sinus' '--network_args down_lr_weight=cosine+abc' '--network_args loraplus_lr_ratio=0' '--optimizer_args betas=2,3' '--optimizer_args d0=1e-6' \
    '--optimizer_type Prodigy --unet_lr 1 --text_encoder_lr 0.5' \
    '--optimizer_type Prodigy --learning_rate 1 --network_args loraplus_lr_ratio=16' \
    '--optimizer_type DAdaptAdam --learning_rate 1 --network_args down_lr_weight=0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1' \
    '--optimizer_type Prodigy --learning_rate 1 --network_args loraplus_lr_ratio=1' \
    '--optimizer_type Lion --optimizer_args decoupled_weight_decay=True --learning_rate 0' \
    '--optimizer_type SGDNesterov --optimizer_args momentum=None' '--optimizer_args eps=inf' \
    '--optimizer_type Adafactor --lr_warmup_steps 10' '--ip_noise_gamma=-0.1' '--v_pred_like_loss=-1' \
    '--max_token_length 100' '--xformers=perhaps' '--lerning_rate 1e-4' '--save_every_n 2' \
    '--network_train_unet_only --network_train_text_encoder_only' 'stray' \
    '--learning_rate -1e-4' '--unet_lr=-1e-4' '--text_encoder_lr -1' '--huber_c 0' '--min_snr_gamma -5' \
    '--scale_weight_norms -1' '--output_name a/b' '--output_name='; do
    "$LX" debug flags $words >/dev/null
    echo "$? $words"
done
# Before anything is looked at or made, and in lx plan as in lx train.
for command in train plan; do
    "$LX" $command --pretrained_model_name_or_path no.safetensors --train_data_dir no --resolution 64 \
        --output_dir out --output_name a/b
    echo "$? $command"
done
"$LX" debug flags --output_name $(printf '%0201d' 0) >/dev/null
[ ! -e out ] || echo "out is there"
