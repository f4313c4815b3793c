# Exact, cut, dense, into a checkpoint and back into a run with its sources.
files=$LX_GOLDENS/lora/files
base=$LX_GOLDENS/lora/checkpoint/tiny_sd15_fp16.safetensors
[ -e "$files/mini_a_r4_a4_fp32.safetensors" ] || { echo "skip: goldens of LoRA files" >&2; exit 77; }
for name in mini_a_r4_a4_fp32 mini_d_r8_a4_fp16 lycoris_loha lycoris_full full_r4_a1_fp16 lycoris_dora; do
    cp "$files/$name.safetensors" "${name%%_r[0-9]*}.safetensors"
done
cp "$base" base.safetensors
"$LX" merge mini_a.safetensors:0.7 mini_a.safetensors:-0.2:te=0.5 -o twice.safetensors
"$LX" merge mini_a.safetensors:0.7 mini_d.safetensors -o out.safetensors
echo "exit $?"
"$LX" merge mini_a.safetensors:0.7 mini_d.safetensors --rank exact -o out.safetensors
"$LX" merge mini_a.safetensors:0.7 mini_d.safetensors:1:lbw=OUTALL --rank 6 -o out.safetensors
"$LX" merge mini_a.safetensors:0.7 mini_d.safetensors --error 5% -o out.safetensors --verbose |
    sed -n '1,3p;$p'
"$LX" merge lycoris_loha.safetensors --error 2% -o lora.safetensors
"$LX" merge lycoris_full.safetensors mini_a.safetensors -o out.safetensors
"$LX" merge mini_a.safetensors mini_d.safetensors --method dare_ties --seed 3 --rank 8 -o out.safetensors --json
cp "$files/cloneofsimo_lora_disney.safetensors" disney.safetensors
"$LX" merge disney.safetensors:0.5 -o out.safetensors --no_record
"$LX" merge lycoris_dora.safetensors mini_a.safetensors -o out.safetensors
echo "exit $?"
"$LX" merge full.safetensors:0.8 lycoris_dora.safetensors:0.5 --into base.safetensors -o baked.safetensors
"$LX" merge twice.safetensors mini_a.safetensors --rank exact -o last.safetensors >/dev/null
"$LX" show last.safetensors 2>/dev/null | grep -A1 -E "merged from|^  kind" | sed 's/(run [0-9a-f]*/(run ID/'
"$LX" inspect last.safetensors | grep -c . >/dev/null && "$LX" fsck >/dev/null && echo "store is sound"
