"$LX" debug flags --xformers --mixed_precision fp16 --cache_latents_to_disk --network_dim 32 \
    --lowram --text_encoder_lr 1e-4 1e-5 --seed 1 --unet_lr 1e-4 --caption_extention txt |
    grep -v '^"resolved"'
