# What a file says of itself goes into its card, and what is wrong with it is found; words that are given win.
. "$SOURCE/tests/support/lora.sh"
k=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
# shellcheck disable=SC2046
{
    make_tensors said.safetensors '"trained_words":"mimi cat, sitting","ss_base_model_version":"sdxl_base_v1-0"' \
        $(module $k 320 768 4) 'some.other.thing=F32[3]'
    make_tensors plain.safetensors '' $(module $k 320 768 4)
}
make_tensors model.safetensors '' 'model.diffusion_model.input_blocks.0.0.weight=F16[320,4,3,3]'
make_tensors emb.safetensors '' 'emb_params=F32[4,768]'
share() { "$LX" share "$@"; echo "= $?"; }
share said.safetensors --output a >/dev/null 2>&1
cat a/README.md 2>/dev/null | sed -n '/rigger/,/^$/p' || ls a
grep -h 'no known kind\|metadata say' a/README.md a/*.html | sed 's/<[^>]*>//g' | sort -u
share plain.safetensors --trigger 'blue hat' --trigger mimi --output b >/dev/null 2>&1
grep -h 'blue hat' b/README.md | head -2
share plain.safetensors --samples -1 --output c
share model.safetensors --output c
share emb.safetensors --output c
share nowhere.safetensors --output c
ls
