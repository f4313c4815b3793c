# Event files grow while training, under sd-scripts' tags; what lx reads back is what the store has, and the
# file is known for this run's.
make=$(dirname "$LX")/tests/make_checkpoint
pictures=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$pictures" ] || { echo "skip: no $make or no $pictures" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
cp -r "$pictures" img && chmod -R u+w img || exit 1
train() {
    "$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
        --train_data_dir img --resolution 64 --network_dim 4 --learning_rate 1e-2 \
        --caption_extension .txt --train_batch_size 2 --seed 42 --cache_latents --threads 1 \
        --output_dir out --output_name a --max_train_epochs 2 --quiet "$@" 2>&1
}
train --logging_dir logs --log_prefix run_ --log_config --validation_split 0.25 --validation_seed 7 \
    --scale_weight_norms 1 --validate_every_n_steps 5 >log || { cat log; exit 1; }
find logs -type f | sed 's/[0-9]\{14\}/STAMP/; s/tfevents\.[0-9]*/tfevents.TIME/'
"$LX" import logs | tail -1
LX_STORE=other "$LX" import logs >/dev/null || exit 1
LX_STORE=other "$LX" sql "select key, n, first_step, last_step from curves order by key"
last() { "$LX" sql "select round(last_value, 5) from curves where key = '$1'" | sed 1d; }
[ "$(last loss)" = "$(LX_STORE=other last loss/current)" ] && echo "the same loss"
grep -a -c -e "$PWD" -e tiny.safetensors logs/*/network_train/*
grep -a -o 'network_dim' logs/*/network_train/* | sort -u
train --logging_dir logs4 --log_config --max_train_steps 1 --training_comment 'https://me:hunter2@example.org/x' \
    --metadata_author 'api_key: 0123456789abcdef' >/dev/null
grep -a -c -e hunter2 -e 0123456789abcdef logs4/*/network_train/*
grep -a -o 'https://[^ ]*example.org' logs4/*/network_train/* | sort -u
train --optimizer_type Prodigy --learning_rate 1 --logging_dir logs2 --log_tracker_name mine >/dev/null
find logs2 -type f | sed 's/[0-9]\{14\}/STAMP/; s/tfevents\.[0-9]*/tfevents.TIME/'
LX_STORE=third "$LX" import logs2 >/dev/null && LX_STORE=third "$LX" sql "select key from curves where key like 'lr/%' order by key"
train --log_with tensorboard
echo $?
train --log_with wandb --logging_dir logs
echo $?
train --logging_dir logs --log_tracker_config x.toml
echo $?
: >file
train --logging_dir file
echo $?
# A training that was stopped has its log, too.
train --logging_dir logs5 --stop_after_steps 2 --output_name stopped >/dev/null
"$LX" import logs5 | tail -1
# Rates of their own, as sd-scripts names them: by block, and LoRA+'s of the ups.
rates() { # FOLDER NETWORK_ARG...
    folder=$1
    shift
    train --logging_dir "$folder" --max_train_steps 1 --output_name "$folder" --network_args "$@" >/dev/null
    LX_STORE=$folder.store "$LX" import "$folder" >/dev/null
    LX_STORE=$folder.store "$LX" sql "select key, round(last_value, 6) as rate from curves where key like 'lr/%' order by key"
}
rates plus loraplus_unet_lr_ratio=4
rates blocks down_lr_weight=0,0.5,0,0,0,0,0,0,0,0,0,0 up_lr_weight=0,0,0,2,0,0,0,0,0,0,0,0 mid_lr_weight=1.5 \
    loraplus_lr_ratio=3
