# Tables only sort the keys, types are checked, and the command line wins.
cat >run.toml <<'EOF'
learning_rate = 1e-4
seed = 1

[network]
network_dim = 8
network_args = ["conv_dim=4", "conv_alpha=1"]
network_alpha = 4
text_encoder_lr = 5e-5

[data]
train_data_dir = 'H:\img'
resolution = [448, 640]
shuffle_caption = true
flip_aug = false
lr_warmup_steps = "10%"
EOF
"$LX" debug flags --config_file run --network_dim 16 --path-map 'H:\=/mnt/h' |
    grep -v '^"resolved"'
# The last table that has a key wins, as in sd-scripts; the command line wins over all.
printf '[one]\nnetwork_dim = 8\n[two]\nnetwork_dim = 16\n' >tables.toml
"$LX" debug flags --config_file tables.toml 2>/dev/null | grep -o '^"resolved".*' | grep -o '"network_dim":[0-9]*'
"$LX" debug flags --config_file tables.toml --network_dim 2 2>/dev/null | grep -o '^"resolved".*' | grep -o '"network_dim":[0-9]*'
# As kohya_ss writes it: with words of its own.
printf 'epoch = 1\nlearning_rate = 0.0001\nmax_token_length = 75\nnoise_offset_type = "Original"\nxformers = true\n' >gui.toml
"$LX" debug flags --config_file gui.toml | grep -v '^"resolved"'
"$LX" debug flags --config_file missing
