# Rates of 0 that leave nothing to train are told by their flags, before anything is read; one that is left trains.
try() { "$LX" debug flags "$@" >/dev/null; echo "$? $*"; }
try --learning_rate 0
try --unet_lr 0 --text_encoder_lr 0
try --learning_rate 0 --unet_lr 0
try --learning_rate 0 --text_encoder_lr 0
try --learning_rate 1e-4 --unet_lr 0 --network_train_unet_only
try --text_encoder_lr 0 --network_train_text_encoder_only
try --network_train_unet_only --learning_rate 0
try --optimizer_type Prodigy --learning_rate 0
try --unet_lr 0
try --text_encoder_lr 0
try --learning_rate 0 --unet_lr 1e-4
try --learning_rate 0 --unet_lr 1e-4 --network_train_unet_only
try --network_train_unet_only --network_args down_lr_weight=zeros mid_lr_weight=0 up_lr_weight=zeros
try --learning_rate 1e-4 --text_encoder_lr 0 --network_args down_lr_weight=zeros mid_lr_weight=0 up_lr_weight=zeros
try --network_args down_lr_weight=zeros mid_lr_weight=0 up_lr_weight=zeros
zeros=0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0
try --network_train_unet_only --network_args block_dims=$zeros,0
try --network_train_unet_only --network_args block_dims=$zeros,4
try --network_train_unet_only --network_args block_dims=$zeros,4 up_lr_weight=zeros
try --network_train_unet_only --network_args block_dims=$zeros,0 conv_dim=4 conv_block_dims=$zeros,2
try --network_args block_dims=$zeros,0
