# tiny.sh - sourced by cases: a narrow model and two images with captions in the working folder, and
# $flags of a training of them; skips the case where their sources are not there
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
mkdir -p "img/3_iwl 1girl"
for name in a b; do
    cp "$picture" "img/3_iwl 1girl/$name.png"
    echo "iwl, 1girl, smile" >"img/3_iwl 1girl/$name.txt"
done
flags="--pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 --train_data_dir img
    --resolution 64 --caption_extension .txt --cache_latents --train_batch_size 2 --threads 1"

# The hash of a LoRA's tensors; of a file that is not there, its name.
tensors() {
    $LX inspect --json "$1" | grep -o '"tensors_sha256": *"[^"]*"\|"sshs_model_hash": *"[^"]*"' | head -1 |
        grep . || echo "no $1"
}
