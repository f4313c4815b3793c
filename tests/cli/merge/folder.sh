# A diffusers folder as the base: all of it comes out, the networks' weights merged, other variants of them left out.
. "$SOURCE/tests/support/lora.sh"
layer=mid_block.attentions.0.transformer_blocks.0.attn1.to_q
text=text_model.encoder.layers.0.self_attn.q_proj
mkdir -p base/unet base/text_encoder base/vae base/scheduler base/tokenizer
make_tensors base/unet/diffusion_pytorch_model.safetensors '"format":"pt"' "$layer.weight=F16[8,6]" "conv_in.bias=F16[8]"
cp base/unet/diffusion_pytorch_model.safetensors base/unet/diffusion_pytorch_model.fp16.safetensors
make_tensors base/text_encoder/model.safetensors '"format":"pt"' "$text.weight=F32[8,8]"
make_tensors base/vae/diffusion_pytorch_model.safetensors '' 'decoder.conv_in.weight=F16[4,4,3,3]'
for file in unet/config.json text_encoder/config.json vae/config.json scheduler/scheduler_config.json \
    tokenizer/vocab.json model_index.json; do
    echo "{\"of\": \"$file\"}" >base/$file
done
make_tensors lora.safetensors '' \
    "lora_unet_$(echo $layer | tr . _).lora_down.weight=F16[2,6]" \
    "lora_unet_$(echo $layer | tr . _).lora_up.weight=F16[8,2]" \
    "lora_te_$(echo $text | tr . _).lora_down.weight=F16[2,8]" \
    "lora_te_$(echo $text | tr . _).lora_up.weight=F16[8,2]"
make_tensors foreign.safetensors '' 'lora_unet_quux.lora_down.weight=F16[2,6]' 'lora_unet_quux.lora_up.weight=F16[8,2]'
make_tensors wide.safetensors '' \
    "lora_unet_$(echo $layer | tr . _).lora_down.weight=F16[2,7]" \
    "lora_unet_$(echo $layer | tr . _).lora_up.weight=F16[8,2]"
"$LX" merge lora.safetensors:0.5 --into base -o merged
(cd merged && find . -type f | sort)
for file in unet/config.json vae/diffusion_pytorch_model.safetensors model_index.json; do
    cmp base/$file merged/$file && echo "$file is the same"
done
head -c 600 merged/text_encoder/model.safetensors | grep -ao '"format":"pt"'
"$LX" show merged/unet/diffusion_pytorch_model.safetensors 2>/dev/null | grep -E "base model|merged from|checkpoint" |
    sed 's/sha256 .*/sha256 .../'
try() {
    "$LX" merge "$@"
    echo "exit $?"
}
try lora.safetensors --into base -o merged
try lora.safetensors --into base -o out.safetensors
try lora.safetensors --into base
try foreign.safetensors --into base -o none
try wide.safetensors --into base -o none
try lora.safetensors --into base/scheduler -o none
try lora.safetensors --into base -o none/out.ckpt --save_precision fp8
ln -s /proc/version base/scheduler/z
try lora.safetensors --into base -o none
rm base/scheduler/z
mkfifo base/scheduler/z
try lora.safetensors --into base -o none
rm base/scheduler/z
[ ! -e none ] && "$LX" fsck >/dev/null && echo "store is sound"
"$LX" extract base merged --rank 2 -o none.safetensors
echo "exit $?"

# Shards and their index, of any variant, whose names stay.
shards() {
    mkdir -p "$1/unet"
    make_tensors "$1/unet/$2" '' "$layer.weight=F16[8,6]"
    make_tensors "$1/unet/$3" '' "conv_in.bias=F16[8]"
    echo "{\"weight_map\":{\"$layer.weight\":\"$2\",\"conv_in.bias\":\"$3\"}}" >"$1/unet/diffusion_pytorch_model.$4"
    "$LX" merge unet.safetensors --into "$1" -o "$1-merged" --no_record
    ls "$1-merged/unet"
}
make_tensors unet.safetensors '' \
    "lora_unet_$(echo $layer | tr . _).lora_down.weight=F16[2,6]" \
    "lora_unet_$(echo $layer | tr . _).lora_up.weight=F16[8,2]"
w=diffusion_pytorch_model
mkdir -p full/unet
echo '{}' >full/unet/$w.safetensors.index.fp16.json
shards full $w-00001-of-00002.safetensors $w-00002-of-00002.safetensors safetensors.index.json
shards new $w.fp16-00001-of-00002.safetensors $w.fp16-00002-of-00002.safetensors safetensors.index.fp16.json
shards old $w-00001-of-00002.fp16.safetensors $w-00002-of-00002.fp16.safetensors safetensors.index.fp16.json
