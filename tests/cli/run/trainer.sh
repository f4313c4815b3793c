# A trainer that prints and saves as sd-scripts does: flags, captions, curve, epochs and files.
. "$SOURCE/tests/support/lora.sh"
[ -d "$LX_GOLDENS/e2e/data/train" ] || { echo "skip: no golden images" >&2; exit 77; }
cp -r "$LX_GOLDENS/e2e/data/train" img
make_lora ready.safetensors "$(session_metadata 11 1 2)"
cat >train_network.py <<'END'
bar() { printf '\rsteps: %3d%%|###       | %d/4 [00:0%d<00:01,  1.00it/s%s]' $(($1 * 25)) "$1" "$1" "$2" >&2; }
printf 'running training / 学習開始\n  num train images * repeats / 学習画像の数×繰り返し回数: 16\n'
printf '  num epochs / epoch数: 2\n  total optimization steps / 学習ステップ数: 4\n'
bar 0 ''; printf '\nepoch 1/2\n'
bar 1 ', avr_loss=0.9'; bar 2 ', avr_loss=0.9'; bar 2 ', avr_loss=0.8'
printf '\nsaving checkpoint: out/it-000001.safetensors\n'
mkdir -p out/sample
head -c 200 ready.safetensors >out/it-000001.safetensors # half of it: not to be taken for whole
sleep 1.6
cat ready.safetensors >out/it-000001.safetensors
printf picture >out/sample/it_e000001_00_20230101000000_42.png
printf '\nepoch 2/2\n'
bar 3 ', avr_loss=0.7'; bar 4 ', avr_loss=6.5e-1'
cp ready.safetensors out/it.safetensors
printf other >out/other.safetensors # of another name: not this training's
printf '\nmodel saved.\n'
END
"$LX" run --name first --tag fake -- sh train_network.py --pretrained_model_name_or_path no.ckpt \
    --train_data_dir img --output_dir out --output_name it --network_module networks.lora \
    --network_dim=8 --optimizer_type Lion --learning_rate 1e-4 --wandb_api_key verysecret \
    --brand_new_flag 3 --resolution 512 >printed 2>told
echo "exit $?"
grep -o 'warning: .* would not be read' told
tail -n 1 told | sed 's/lx run: [0-9a-f]*/ID/'
tail -n 1 printed
"$LX" sql "SELECT status, last_step, loss FROM runs"
"$LX" sql "SELECT key, n, last_step, last_value FROM curves ORDER BY key"
"$LX" sql "SELECT role, name, step, is_kept FROM artifacts WHERE role <> 'console' ORDER BY role, name"
"$LX" sql "SELECT key, value FROM flags WHERE key IN ('network_dim', 'optimizer_type', 'learning_rate',
    'unet_lr', 'caption_extension', 'brand_new_flag', 'network_alpha', 'device') ORDER BY key"
"$LX" sql "SELECT key, value FROM facts WHERE key IN ('captions.verdict', 'captions.rule', 'trainer',
    'exit_status', 'total_steps', 'num_epochs') ORDER BY key"
"$LX" sql "SELECT tag FROM tags"
! grep -rqa verysecret "$LX_STORE" || echo "the secret is in the store"
"$LX" fsck >/dev/null
