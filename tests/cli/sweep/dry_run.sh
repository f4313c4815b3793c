# Every planned command with its steps, as a shell takes it; nothing is recorded.
. "$SOURCE/tests/support/tiny.sh"
mv img "it's a folder"
flags="--pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 --resolution 64
    --caption_extension .txt --cache_latents --max_train_epochs 2 --output_dir out"
$LX sweep --name d --batch 1,2 --network-args 'conv_dim=4 conv_alpha=1;conv_dim=2' --flip_aug true,false \
    --dry-run -- train $flags --train_data_dir "it's a folder" --shuffle_caption >plan
cat plan
grep '^lx' plan | sed -n 2p | sed "s|^lx|$LX|" | sh >/dev/null 2>&1 && ls out
$LX sweep --random 3 --random-seed 1 --lr 1e-5..1e-3:log --resolution '64,64;32,32' --dry-run -- \
    train $flags --train_data_dir "it's a folder" --seed 3 | grep -o -- '--learning_rate=.*--resolution=[0-9,]*\|^#.*'
echo "== seeds, switches and rungs"
$LX sweep --seed 5,6 --cache_latents on,off --halving --eta 2 --min-steps 1 --metric loss/average --dry-run -- \
    train $flags --train_data_dir "it's a folder" >plan
grep '^#' plan
grep -o -- '--output_name=.*' plan
$LX sweep --random 20 --lr 1e-4,1e-3 --dry-run -- train $flags --train_data_dir "it's a folder" 2>&1 >/dev/null
$LX sweep --x 1,2 --dry-run -- run -- python3 train.py --out here | sed "s|$PWD|DIR|"
$LX runs --kind sweep
# Of sd-scripts' flags every one that stands there goes with all its words; a list has a word for each value; the
# launcher keeps its own.
: >train_network.py
$LX sweep --name n --network_args 'conv_dim=8 conv_alpha=2;conv_dim=4' --lr 1e-3 --dry-run -- \
    run -- python train_network.py --network_args conv_dim=4 conv_alpha=1 --learning_rate 1e-4 --learning_rate=1e-5
$LX sweep --name n --mixed_precision fp16,bf16 --dry-run -- run -- \
    accelerate launch --mixed_precision no train_network.py --mixed_precision no
