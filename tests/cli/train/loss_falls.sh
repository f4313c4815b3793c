# The same settings from a TOML file as from flags give the same tensors, and over ten epochs of
# one picture the loss falls.
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
mkdir -p "img/20_iwl 1girl"
cp "$picture" "img/20_iwl 1girl/a.png"
cat >run.toml <<'EOT'
pretrained_model_name_or_path = "tiny.safetensors"
text_encoder_heads = 4

[folders]
train_data_dir = "img"
output_dir = "out"
output_name = "toml"

[training]
resolution = "64,64"
enable_bucket = true
min_bucket_reso = 64
cache_latents = true
network_module = "networks.lora"
network_dim = 8
network_alpha = 8
learning_rate = 2e-2
max_train_epochs = 10
train_batch_size = 4
seed = 3
EOT
"$LX" train --config_file run.toml -q >log 2>&1 || { cat log; exit 1; }
"$LX" train --config_file run --output_name again -q >log 2>&1 || { cat log; exit 1; }
"$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
    --train_data_dir img --output_dir out --output_name flags --resolution 64,64 --enable_bucket \
    --min_bucket_reso 64 --cache_latents --network_module networks.lora --network_dim 8 \
    --network_alpha 8 --learning_rate 2e-2 --max_train_epochs 10 --train_batch_size 4 --seed 3 \
    -q >log 2>&1 || { cat log; exit 1; }
for name in toml again flags; do
    "$LX" inspect --json "out/$name.safetensors" | grep '"data_sha256"' >"$name.hash" || exit 1
    cmp toml.hash "$name.hash" || exit 1
done
# An untrained model's loss is about 1; the mean of the last epoch:
"$LX" show flags >show || { cat show; exit 1; }
awk '$1 == "loss/average" { for (i = 1; i < NF; i++) if ($i == "last") last = $(i + 1) }
     END { exit !(last > 0 && last < 0.75) }' show || { cat show; exit 1; }
