# Which files belong together: copies, other metadata, one training, another update.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
# shellcheck disable=SC2046
{
    make_tensors a.safetensors "$(session_metadata 1 1 2)" $(module $u 320 768 8)
    make_tensors c.safetensors "$(session_metadata 1 2 2)" $(module $u 320 768 16)
    make_tensors d.safetensors "$(session_metadata 2 2 2)" $(module $u 320 768 4)
}
cp a.safetensors b.safetensors
make_tensors e.safetensors '' 'emb_params=F16[2,768]'
# values: up and down of rank 1; the second file the same by half and double
header='{"x.lora_down.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"x.lora_up.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}}'
while [ $((${#header} % 8)) -ne 0 ]; do header="$header "; done
lora() {
    {
        # shellcheck disable=SC2059
        printf "\\$(printf %03o ${#header})\\000\\000\\000\\000\\000\\000\\000%s" "$header"
        # shellcheck disable=SC2059
        printf "$2"
    } >"$1"
}
lora f.safetensors '\000\000\200\077\000\000\000\100\000\000\200\077\000\000\200\077'
lora g.safetensors '\000\000\000\077\000\000\200\077\000\000\000\100\000\000\000\100'
lora h.safetensors '\000\000\000\300\000\000\200\077\000\000\200\077\000\000\200\277'
echo x >broken.safetensors
"$LX" inspect . --similar
"$LX" inspect --similar f.safetensors g.safetensors --json
# A file that is named beside its folder is no copy of itself.
"$LX" inspect --similar d.safetensors .
mkdir sub && cp d.safetensors sub && ln -s d.safetensors sub/link.safetensors
"$LX" inspect --similar sub/d.safetensors sub
# A copy is told as that, though an earlier file is akin to both.
mkdir copies
cp a.safetensors copies/1.safetensors
cp c.safetensors copies/2.safetensors
cp c.safetensors copies/3.safetensors
"$LX" inspect --similar copies
