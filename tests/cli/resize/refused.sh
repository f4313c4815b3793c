# What makes no sense is said in one line, and nothing is written.
. "$SOURCE/tests/support/lora.sh"
make_tensors odd.safetensors '"ss_network_dim":"2"' 'lora_unet_x.lora_down.weight=F32[2,8]' \
    'lora_unet_x.lora_up.weight=F32[8,2]' 'something.else=F32[4]'
make_tensors zero.safetensors '' 'lora_unet_x.lora_down.weight=F32[0,8]' 'lora_unet_x.lora_up.weight=F32[8,0]'
make_tensors twice.safetensors '' 'lora_unet_mid_block_attentions_0_proj_in.lora_down.weight=F32[2,8]' \
    'lora_unet_mid_block_attentions_0_proj_in.lora_up.weight=F32[8,2]' \
    'unet.mid_block.attentions.0.proj_in.lora_A.weight=F32[2,8]' \
    'unet.mid_block.attentions.0.proj_in.lora_B.weight=F32[8,2]'
for name in lora_alpha_nan lora_rank_mismatch ok_minimal trunc_data; do
    cp "$SOURCE/tests/badfiles/st_$name.safetensors" .
done
try() {
    "$LX" resize "$@"
    echo "exit $?" >&2
}
try
try a.safetensors
try a.safetensors b.safetensors --rank 4 -o out.safetensors
try a.safetensors --rank 4
try a.safetensors --rank 4 -o out.pt
try a.safetensors -o out.safetensors
try a.safetensors --rank 0 -o out.safetensors
try a.safetensors --rank -3 -o out.safetensors
try a.safetensors --rank 4 --new_rank 4 -o out.safetensors
try a.safetensors --rank 4 --conv_rank 0 -o out.safetensors
try a.safetensors --error 0 -o out.safetensors
try a.safetensors --error nan -o out.safetensors
try a.safetensors --sv_ratio 1 -o out.safetensors
try a.safetensors --sv_fro 2 -o out.safetensors
try a.safetensors --sv_cumulative 0 -o out.safetensors
try a.safetensors --sv_fro 0.9 --error 1% -o out.safetensors
try a.safetensors --dynamic_method best --dynamic_param 2 -o out.safetensors
try a.safetensors --dynamic_method sv_fro --new_rank 2 -o out.safetensors
try a.safetensors --dynamic_param 0.9 --rank 2 -o out.safetensors
try a.safetensors --rank 4 --save_precision fp8 -o out.safetensors
try odd.safetensors --rank 1 -o odd.safetensors
try odd.safetensors --rank 1 -o out.safetensors
try zero.safetensors --rank 1 -o out.safetensors
try twice.safetensors --rank 1 -o out.safetensors
try none.safetensors --rank 1 -o out.safetensors
try st_lora_alpha_nan.safetensors --rank 1 -o out.safetensors
try st_lora_rank_mismatch.safetensors --rank 1 -o out.safetensors
try st_ok_minimal.safetensors --rank 1 -o out.safetensors
try st_trunc_data.safetensors --rank 1 -o out.safetensors
p=lora_unet_mid_block_attentions_0_proj_in
make_tensors int.safetensors '' "$p.lora_down.weight=I8[1,2]" "$p.lora_up.weight=I8[2,1]"
make_tensors huge.safetensors '' "$p.lokr_w1=F32[200,200]" "$p.lokr_w2=F32[100,100]"
try int.safetensors --rank 1 -o out.safetensors
try huge.safetensors --rank 1 -o out.safetensors
[ ! -e out.safetensors ] && [ ! -e "$LX_STORE" ] && echo "nothing was written"
