# There and back between the spellings, to the bit; precisions; repairs; drops; the run knows its source.
files=$LX_GOLDENS/lora/files
[ -e "$files/mini_a_r4_a4_fp32.safetensors" ] || { echo "skip: goldens of LoRA files" >&2; exit 77; }
for name in mini_a_r4_a4_fp32 mini_d_r8_a4_fp16 full_r4_a1_fp16 lycoris_full lycoris_loha sdxl_names_r4_fp16 diffusers_r4; do
    cp "$files/$name.safetensors" "${name%%_r[0-9]*}.safetensors"
done
cp "$files/mini_j_r4_a1_fp16.pt" mini_j.pt
cp "$files/cloneofsimo_lora_disney.safetensors" disney.safetensors
"$LX" convert full.safetensors --to kohya -o full-kohya.safetensors
tail -c 200000 full-kohya.safetensors >wanted
for to in diffusers comfyui; do
    "$LX" convert full.safetensors --to $to -o full-$to.safetensors
    "$LX" convert full-$to.safetensors --to kohya -o back.safetensors
    tail -c 200000 back.safetensors | cmp - wanted && echo "$to and back: the same bytes"
done
"$LX" convert full.safetensors --to peft -o full-peft
ls full-peft full-peft/unet
grep -o '"lora_alpha":[0-9.]*\|"r":[0-9]*' full-peft/unet/adapter_config.json
"$LX" convert full-peft --to kohya -o back.safetensors
tail -c 200000 back.safetensors | cmp - wanted && echo "peft and back: the same bytes"
"$LX" convert diffusers.safetensors --to diffusers-old -o old.safetensors
"$LX" convert mini_d.safetensors --to diffusers --precision f16 -o out.safetensors
"$LX" convert sdxl_names.safetensors --to diffusers -o out.safetensors --verbose | sed -n '1p;1500p'
"$LX" convert mini_j.pt --to kohya -o out.safetensors
"$LX" convert disney.safetensors --to kohya -o out.safetensors
"$LX" convert disney.safetensors --to diffusers --drop '<s*>' -o out.safetensors
for precision in f32 bf16 f8_e4m3 f8_e5m2; do
    "$LX" convert mini_a.safetensors --precision $precision -o out.safetensors
done
"$LX" merge mini_a.safetensors --error 30% --no_record -o uneven.safetensors >/dev/null
"$LX" convert uneven.safetensors --to diffusers -o out.safetensors
"$LX" convert lycoris_full.safetensors --to comfyui --drop '*_blocks_*' --drop 'lora_te*.diff_b' -o out.safetensors | tail -2
"$LX" convert mini_a.safetensors --to comfyui -o out.safetensors --json | cut -c1-330
head -c 3000 full-diffusers.safetensors | grep -ao '"lx.convert.scales":"{[^}]*}"\|"format":"pt"'
"$LX" show out.safetensors 2>/dev/null | grep -E "converted from|^  kind" | sed 's/(run [0-9a-f]*/(run ID/'
"$LX" fsck >/dev/null && echo "store is sound"
