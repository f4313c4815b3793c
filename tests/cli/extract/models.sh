# A LoRA merged into a model comes out again; what differs besides is told; the run knows both models.
files=$LX_GOLDENS/lora/files
[ -e "$files/full_r4_a1_fp16.safetensors" ] || { echo "skip: goldens of LoRA files" >&2; exit 77; }
cp "$LX_GOLDENS/lora/checkpoint/tiny_sd15_fp16.safetensors" base.safetensors
for name in full_r4_a1_fp16 lycoris_full lycoris_dora; do
    cp "$files/$name.safetensors" "${name%%_r[0-9]*}.safetensors"
done
"$LX" merge full.safetensors --into base.safetensors --save_precision float -o merged.safetensors >/dev/null
"$LX" extract --quiet base.safetensors merged.safetensors --rank 4 -o out.safetensors --verbose | sed -n '1,3p;266,$p'
"$LX" merge out.safetensors full.safetensors:-1 --error 0.01% -o rest.safetensors --no_record --json |
    grep -c '"modules":264'
"$LX" show out.safetensors 2>/dev/null | grep -E "extracted from|^  kind|base model" | sed 's/(run [0-9a-f]*/(run ID/'
"$LX" merge lycoris_full.safetensors --into base.safetensors -o tuned.safetensors --no_record >/dev/null
"$LX" extract --quiet --base base.safetensors --tuned tuned.safetensors --rank 8 -o out.safetensors
"$LX" extract --quiet --base base.safetensors --tuned tuned.safetensors --error 5% --rank 48 --conv_rank 16 \
    --save_precision fp16 -o out.safetensors
"$LX" extract --quiet --model_org base.safetensors --model_tuned tuned.safetensors --save_to out.safetensors --dim 4 \
    --conv_dim 2 --clamp_quantile 0.99 --min_diff 10 --no_metadata --json | cut -c1-150
head -c 60000 out.safetensors | grep -ao '"ss_[a-z_0-9]*":"[^"]*"\|"ss_network_args":"{[^}]*}"'
"$LX" extract --quiet base.safetensors tuned.safetensors --rank 2 --unet_only -o out.safetensors
"$LX" extract --quiet base.safetensors base.safetensors --rank 2 -o none.safetensors
echo "exit $?"
"$LX" extract --quiet base.safetensors full.safetensors --rank 2 -o none.safetensors
echo "exit $?"
"$LX" extract --quiet base.safetensors tuned.safetensors --rank 2 --v2 -o none.safetensors
echo "exit $?"
"$LX" extract --quiet base.safetensors tuned.safetensors --rank 2 --sdxl -o none.safetensors
echo "exit $?"
[ ! -e none.safetensors ] && "$LX" fsck >/dev/null && echo "store is sound"
