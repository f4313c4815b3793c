# What this version cannot follow is an error that says what to use, never ignored; values that ask
# for nothing pass.
for words in '--use_8bit_adam --use_lion_optimizer' '--optimizer_type Adam' '--optimizer_type Lion --use_8bit_adam' \
    '--initial_step 5' '--network_module lycoris.kohya' \
    '--save_model_as diffusers' '--network_dropout 1' '--network_args dropout=0.1' '--fp8_base' \
    '--lr_scheduler adafactor' '--log_with wandb' '--v2' '--network_args rank_dropout=1' \
    '--huggingface_token secret' '--network_dropout 0' '--validation_split 0.0' \
    '--sample_every_n_steps 0' '--network_args rank_dropout=0' '--scale_weight_norms=0'; do
    "$LX" debug flags $words >/dev/null
    echo "$? $words"
done
