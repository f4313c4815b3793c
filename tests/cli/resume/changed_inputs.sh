# What changed since a state was left is named; paths are those of the folder one is in.
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" nano nano.safetensors || exit 1
mkdir -p img/8_iwl sub masks
cp "$picture" img/8_iwl/a.png
cp "$picture" masks/a.png
echo iwl >img/8_iwl/a.txt
cat >data.toml <<END
[[datasets]]
resolution = 64
[[datasets.subsets]]
image_dir = "img/8_iwl"
num_repeats = 8
caption_extension = ".txt"
conditioning_data_dir = "masks"
END
train() {
    "$LX" train --pretrained_model_name_or_path nano.safetensors --text_encoder_heads 2 --dataset_config data.toml \
        --masked_loss --network_dim 4 --learning_rate 1e-3 --seed 1 --threads 1 --max_train_steps 4 --output_dir out \
        --quiet "$@" >log 2>&1 || cat log
}
resume() { "$LX" resume "$@" 2>&1 | sed -n 's/^note: --resume: the state is of run [0-9a-f]*, //p; s/^lx .*/&/p'; }
train --output_name a --stop_after_steps 2
echo smile >img/8_iwl/a.txt
resume a
echo iwl >img/8_iwl/a.txt
train --output_name b --stop_after_steps 2
printf 'x' >>masks/a.png
(cd sub && resume b)
cp "$picture" masks/a.png
train --output_name c --stop_after_steps 2
resume c -- --learning_rate 1e-4 --noise_offset 0.1
# Nothing changed: nothing is said, and the state is found from another folder.
train --output_name d --stop_after_steps 2
(cd sub && resume d --from ../out/d-autosave -- --wandb_run_name other --vae_batch_size 4)
# The result of reproducing lies where one is; a LoRA that was begun with, and masks, are looked at.
train --output_name e --network_weights out/d.safetensors
(cd sub && "$LX" reproduce e -o again 2>&1 | grep -v sha256 | grep "same" | cut -c1-40 && ls again)
cp out/c.safetensors out/d.safetensors
printf 'x' >>masks/a.png
"$LX" reproduce e --check 2>/dev/null | grep "^changed" | cut -d: -f1
# The same folders and settings, and which has which is another.
mkdir -p img/8_smile
cp "$picture" img/8_smile/b.png
subset() { printf '[[datasets.subsets]]\nimage_dir = "img/%s"\nkeep_tokens = %s\nclass_tokens = "x"\nconditioning_data_dir = "%s"\n' "$@"; }
mkdir -p masks2
cp "$picture" masks/a.png
cp "$picture" masks2/b.png
{ printf '[[datasets]]\nresolution = 64\ncaption_extension = ".txt"\n' && subset 8_iwl 1 masks && subset 8_smile 0 masks2; } >data.toml
train --output_name f --stop_after_steps 2
{ printf '[[datasets]]\nresolution = 64\ncaption_extension = ".txt"\n' && subset 8_smile 1 masks2 && subset 8_iwl 0 masks; } >data.toml
resume f
# A run that goes on keeps its name.
train --output_name g --name big --stop_after_steps 2
"$LX" resume big -q >log 2>&1 || cat log
"$LX" show --json big | grep -o '"status": *"[a-z]*"' | sort -u
