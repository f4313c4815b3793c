# Fixed ranks, errors and the peer's rules; other kinds become LoRA; the run knows its source.
files=$LX_GOLDENS/lora/files
[ -e "$files/mini_a_r4_a4_fp32.safetensors" ] || { echo "skip: goldens of LoRA files" >&2; exit 77; }
for name in mini_a_r4_a4_fp32 mini_f_r16_a8_fp32 mini_g_locon_r8_c4_fp32 lycoris_loha lycoris_full lycoris_dora peft_r4; do
    cp "$files/$name.safetensors" "${name%%_r[0-9]*}.safetensors"
done
cp "$files/cloneofsimo_lora_disney.safetensors" disney.safetensors
cp "$files/mini_j_r4_a1_fp16.pt" mini_j.pt
"$LX" resize mini_f.safetensors --rank 4 -o four.safetensors --verbose | sed -n '1,4p;32,$p'
head -c 8000 four.safetensors | grep -ao '"ss_training_comment":"[^"]*"\|"ss_network_alpha":"[^"]*"'
"$LX" resize --model mini_f.safetensors --save_to out.safetensors --new_rank 16 --dynamic_method sv_ratio --dynamic_param 5
"$LX" resize mini_f.safetensors --sv_cumulative 0.95 -o out.safetensors
"$LX" resize mini_f.safetensors --error 2% --rank 6 -o out.safetensors
"$LX" resize mini_g_locon.safetensors --rank 4 --conv_rank 2 -o out.safetensors --json |
    grep -o '"rank":[0-9]*,"alpha":[0-9.]*' | sort | uniq -c | sed 's/^ *//'
"$LX" resize mini_g_locon.safetensors --rank 4 --new_conv_rank 2 -o out.safetensors --json |
    grep -o '"rank":[0-9]*,"alpha":[0-9.]*' | sort | uniq -c | sed 's/^ *//'
"$LX" resize mini_a.safetensors --rank 64 -o out.safetensors
"$LX" resize lycoris_loha.safetensors --error 1% -o out.safetensors
"$LX" resize lycoris_full.safetensors --rank 4 --save_precision bf16 -o out.safetensors
"$LX" resize peft.safetensors --rank 2 -o out.safetensors
"$LX" resize mini_j.pt --rank 2 -o last.safetensors
"$LX" resize disney.safetensors --rank 2 -o out.safetensors
"$LX" resize lycoris_dora.safetensors --rank 2 -o dora.safetensors
echo "exit $?"
"$LX" resize four.safetensors --rank 2 -o last.safetensors >/dev/null
"$LX" show last.safetensors 2>/dev/null | grep -E "resized from|^  kind" | sed 's/(run [0-9a-f]*/(run ID/'
"$LX" fsck >/dev/null && echo "store is sound"
