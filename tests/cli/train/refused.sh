# What this version cannot follow is an error that says what to use, never ignored; values that ask
# for nothing pass.
for words in '--use_8bit_adam --use_lion_optimizer' '--optimizer_type Adam' '--optimizer_type Lion --use_8bit_adam' \
    '--initial_step 5' '--network_module networks.dylora' '--network_module networks.lora_flux' \
    '--network_module=lycoris.kohya --network_args algo=lokr factor=8 use_tucker=False' \
    '--network_module=lycoris.kohya --network_args algo=oft' '--network_module=lycoris.kohya --network_args algo=full' \
    '--network_module=lycoris.kohya --network_args dora_wd=True' '--network_module=lycoris.kohya --network_args presett=full' \
    '--network_module=lycoris.kohya --network_args preset=mine.toml' '--network_args algo=loha' \
    '--network_module=lycoris.kohya --network_dropout 0.1' \
    '--save_model_as diffusers' '--network_dropout 1' '--network_args dropout=0.1' '--fp8_base' \
    '--lr_scheduler adafactor' '--log_with wandb' '--v2' '--network_args rank_dropout=1' \
    '--huggingface_token secret' '--network_dropout 0' '--validation_split 0.0' \
    '--sample_every_n_steps 0' '--network_args rank_dropout=0' '--scale_weight_norms=0'; do
    "$LX" debug flags $words >/dev/null
    echo "$? $words"
done
