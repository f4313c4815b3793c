# What --output_config writes is read back to the same flags; a file that is there is not replaced.
"$LX" debug flags --config_file out --output_config --learning_rate 1e-4 --seed 3 --resolution 512 \
    --network_args conv_dim=4 'conv_alpha=1' --network_dim 8 --lr_warmup_steps 10% --xformers \
    --training_comment 'a "quoted" é' --train_batch_size 1 --wandb_api_key k >first || exit
cat out.toml
"$LX" debug flags --config_file out | grep '^"resolved"' | sed 's/"config_file":[^,]*,//' >b
grep '^"resolved"' first | sed 's/"config_file":[^,]*,//; s/"output_config":true/"output_config":false/' >a
diff a b || exit 1
"$LX" debug flags --config_file out --output_config --seed 3
