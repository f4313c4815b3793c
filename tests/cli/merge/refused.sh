# What makes no sense is said in one line, and nothing is written.
. "$SOURCE/tests/support/lora.sh"
make_lora odd.safetensors '"ss_network_dim":"4"'
for name in lora_alpha_nan lora_rank_mismatch ok_minimal trunc_data; do
    cp "$SOURCE/tests/badfiles/st_$name.safetensors" .
done
try() {
    "$LX" merge "$@"
    echo "exit $?" >&2
}
try
try a.safetensors
try a.safetensors -o out.pt
try a.safetensors b.safetensors --ratios 1 -o out.safetensors
try a.safetensors b.safetensors --lbws OUTALL -o out.safetensors
try a.safetensors:0.7:lbw=1,2,3 -o out.safetensors
try a.safetensors:te=x -o out.safetensors
try odd.safetensors:0,5 ok.safetensors -o out.safetensors
try odd.safetensors:0,5:te=0.3 -o out.safetensors
try odd.safetensors:0.5:half -o out.safetensors
try none.safetensors:0,5 -o out.safetensors
try a.safetensors --rank 0 -o out.safetensors
try a.safetensors --rank 4 --error 1% -o out.safetensors
try a.safetensors --error 200% -o out.safetensors
try a.safetensors --conv_rank 4 -o out.safetensors
try a.safetensors --method best -o out.safetensors
try a.safetensors --method ties --density 2 -o out.safetensors
try a.safetensors --density 0.3 -o out.safetensors
try a.safetensors --concat -o out.safetensors
try a.safetensors --like webui -o out.safetensors
try a.safetensors --like sd-scripts --method ties -o out.safetensors
try a.safetensors --like sd-scripts --precision bf16 -o out.safetensors
try a.safetensors --into base.safetensors --rank 4 -o out.safetensors
try odd.safetensors -o odd.safetensors
try odd.safetensors -o out.safetensors
try none.safetensors -o out.safetensors
try st_lora_alpha_nan.safetensors -o out.safetensors
try st_lora_rank_mismatch.safetensors -o out.safetensors
try st_ok_minimal.safetensors -o out.safetensors
try st_trunc_data.safetensors -o out.safetensors
[ ! -e out.safetensors ] && [ ! -e "$LX_STORE" ] && echo "nothing was written"
