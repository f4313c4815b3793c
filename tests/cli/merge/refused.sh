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
try a.safetensors --seed 3 -o out.safetensors
try a.safetensors --rank exact --seed 3 -o out.safetensors
try a.safetensors --like sd-scripts --seed 3 -o out.safetensors
try a.safetensors --method dare --seed -3 -o out.safetensors
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
make_tensors state.safetensors '' progress=I64[4] recent=F32[2] recent_sum=F64[1] lora.0.down=F32[2,2]
try state.safetensors -o out.safetensors
make_tensors embedding.safetensors '' emb_params=F32[1,768]
try embedding.safetensors -o out.safetensors
try st_trunc_data.safetensors -o out.safetensors
try a.safetensors --new_rank 0 -o out.safetensors
try a.safetensors --rank 4 --conv_rank 0 -o out.safetensors
try a.safetensors --method ties --density 0 -o out.safetensors
try a.safetensors:0.7:te=0.5 b.safetensors --ratios 0.7 0.4 -o out.safetensors
try a.safetensors:0.7 b.safetensors --ratios 0.6 0.4 -o out.safetensors
try a.safetensors:1:lbw=OUTALL --lbws INALL -o out.safetensors
try a.safetensors -o out.safetensors --save_to other.safetensors
try a.safetensors --allow_missing -o out.safetensors
layer=lora_unet_down_blocks_1_attentions_0_proj_in
make_tensors sd.safetensors '' "$layer.lora_down.weight=F16[4,8]" "$layer.lora_up.weight=F16[8,4]" "$layer.alpha=F16[]"
try sd.safetensors:1:lbw=$(seq -s , 61 | sed 's/[0-9]*/1/g') -o out.safetensors
# Values that are none are told with their file's name; so are those of a base model that something is added to.
p=lora_unet_mid_block_attentions_0_proj_in
w=model.diffusion_model.middle_block.1.proj_in.weight
make_tensors good.safetensors '' "$p.lora_down.weight=F32[1,2]" "$p.lora_up.weight=F32[2,1]"
make_tensors nan.safetensors '' "$p.lora_down.weight=F32[1,2]" "$p.lora_up.weight=F32[2,1]"
make_tensors base.safetensors '' "$w=F32[2,2]"
for name in nan base; do # the last value becomes NaN
    size=$(($(wc -c <$name.safetensors) - 4))
    head -c $size $name.safetensors >t && printf '\377\377\377\177' >>t && mv t $name.safetensors
done
try nan.safetensors good.safetensors -o out.safetensors
try good.safetensors nan.safetensors -o out.safetensors
try good.safetensors nan.safetensors --rank 1 -o out.safetensors
try good.safetensors:1e39 -o out.safetensors
try good.safetensors --into base.safetensors -o out.safetensors
# Factors that do not fit or are whole numbers; LoKr that would fill the memory.
make_tensors window.safetensors '' "$p.lora_down.weight=F32[1,2,1,1]" "$p.lora_up.weight=F32[2,1,3,3]"
make_tensors int.safetensors '' "$p.lora_down.weight=I8[1,2]" "$p.lora_up.weight=I8[2,1]"
make_tensors huge.safetensors '' "$p.lokr_w1=F32[200,200]" "$p.lokr_w2=F32[100,100]"
for name in window int huge; do
    try $name.safetensors -o out.safetensors
done
[ ! -e out.safetensors ] && [ ! -e "$LX_STORE" ] && echo "nothing was written"
# Two methods in one module: what a program would take of it is a guess.
k=lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k
make_tensors two.safetensors '' $k.lora_down.weight=F32[2,8] $k.lora_up.weight=F32[4,2] $k.diff=F32[4,8] $k.diff_b=F32[4]
try two.safetensors -o out.safetensors
"$LX" resize two.safetensors --rank 1 -o out.safetensors >&2
"$LX" inspect two.safetensors | grep 'two methods'
make_tensors one.safetensors '' $k.lora_down.weight=F32[2,8] $k.lora_up.weight=F32[4,2] $k.diff_b=F32[4]
"$LX" inspect one.safetensors | grep 'two methods'
