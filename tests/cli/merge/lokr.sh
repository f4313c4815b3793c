# LoKr twice: the ranks together are more than the layer's shorter side, and the result has no more than that.
. "$SOURCE/tests/support/lora.sh"
p=lora_unet_mid_block_attentions_0_proj_in
one='\0\0\200\077'
make_tensors row.safetensors '' "$p.lokr_w1=F32[1,2]" "$p.lokr_w2=F32[1,2]"
make_tensors column.safetensors '' "$p.lokr_w1=F32[2,1]" "$p.lokr_w2=F32[2,1]"
for name in row column; do
    head -c $(($(wc -c <$name.safetensors) - 16)) $name.safetensors >t
    printf "$one$one$one$one" >>t
    mv t $name.safetensors
    "$LX" merge $name.safetensors:1 $name.safetensors:0.5 -o out.safetensors --no_record | grep =
    "$LX" inspect out.safetensors --weights --tree --json | grep -E '"(rank|norm|out|in)"' # of [1, 4]: 1.5 * 2
    "$LX" merge $name.safetensors:1 $name.safetensors:0.5 --rank 1 -o out.safetensors --no_record | grep =
    "$LX" inspect out.safetensors --weights --tree --json | grep -E '"norm"'
done
