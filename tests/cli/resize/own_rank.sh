# A rule gives no module more than the rank it has, its "and one" included.
lora=$LX_GOLDENS/lora/files/mini_a_r4_a4_fp32.safetensors
[ -e "$lora" ] || { echo "skip: no $lora" >&2; exit 77; }
"$LX" resize "$lora" --rank 1 -o one.safetensors >/dev/null
for file in one.safetensors "$lora"; do
    "$LX" resize "$file" --sv_ratio 100000 -o out.safetensors >/dev/null
    "$LX" inspect out.safetensors | grep -o 'rank [0-9.]*'
done
