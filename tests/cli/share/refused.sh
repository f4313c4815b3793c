# What cannot be shared, and a pickle that becomes a safetensors file; captions that were not read.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0
# shellcheck disable=SC2046
make_tensors words.safetensors "$(session_metadata 1 1 2)" $(module ${u}_attn2_to_k 320 768 8)
make_tensors embedding.safetensors '' 'emb_params=F16[2,768]'
make_tensors other.safetensors '' 'weight.x=F16[2,768]'
cp "$SOURCE/tests/fuzz/corpus/ckpt/list_of_pairs.pt" .
"$LX" share; echo "= $?"
"$LX" share words.safetensors; echo "= $?"
"$LX" share embedding.safetensors -o a; echo "= $?"
"$LX" share other.safetensors -o b; echo "= $?"
"$LX" share none.safetensors -o c; echo "= $?"
: >there
"$LX" share words.safetensors -o there; echo "= $?"
"$LX" share words.safetensors -o words -q
sed -n '/## Use/,/## Train/p' words/README.md
"$LX" share list_of_pairs.pt -o list
"$LX" inspect list/list_of_pairs.safetensors | head -3
