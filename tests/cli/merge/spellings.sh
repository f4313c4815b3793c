# What is merged and resized is spelled as its files spell it, layer by layer; files of different spellings become
# sd-scripts'. An adapter of PEFT's keeps its scale, once.
. "$SOURCE/tests/support/lora.sh"
q=text_encoder.text_model.encoder.layers.0.self_attn.q_proj
k=unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k
for order in unet_first text_first; do
    unet="$k.lora.down.weight=F16[2,768] $k.lora.up.weight=F16[1280,2]"
    text="$q.lora_linear_layer.down.weight=F16[2,768] $q.lora_linear_layer.up.weight=F16[768,2]"
    # shellcheck disable=SC2086
    case $order in
        unet_first) make_tensors $order.safetensors '' $unet $text ;;
        text_first) make_tensors $order.safetensors '' $text $unet ;;
    esac
done
names() {
    echo "$1"
    head -c 4096 "$2" | grep -a -o '"[a-z][A-Za-z0-9_.]*\.\(weight\|alpha\)"\|"lora_adapter_metadata"' | sort
}
merge() {
    "$LX" merge "$@" --no_record >/dev/null || echo "exit $?"
}
merge unet_first.safetensors:0.5 text_first.safetensors -o out.safetensors
names merged out.safetensors
"$LX" resize unet_first.safetensors --rank 1 -o out.safetensors --no_record >/dev/null
names resized out.safetensors

# SDXL's layers have other names in sd-scripts than in diffusers.
b=down_blocks.2.attentions.0.transformer_blocks
factors() {
    printf '%s.lora_A.weight=F16[2,%s] %s.lora_B.weight=F16[%s,2]' "$1" "$3" "$1" "$2"
}
# shellcheck disable=SC2046
{
    make_tensors xl_diffusers.safetensors '' $(factors "unet.$b.9.attn2.to_k" 1280 2048) \
        $(factors "unet.down_blocks.1.downsamplers.0.conv" 640 640) \
        $(factors text_encoder_2.text_model.encoder.layers.31.mlp.fc1 5120 1280)
    make_tensors xl_kohya.safetensors '' $(module lora_unet_input_blocks_7_1_transformer_blocks_9_attn2_to_k 1280 2048 2) \
        $(module lora_te1_text_model_encoder_layers_0_mlp_fc1 3072 768 2)
}
merge xl_diffusers.safetensors xl_kohya.safetensors --rank exact -o out.safetensors
names sdxl out.safetensors

# A file whose up alone is wider is as wide as that.
make_tensors wide.safetensors '' lora_unet_x_to_k.lora_down.weight=F16[2,8] lora_unet_x_to_k.lora_up.weight=F32[8,2]
"$LX" merge wide.safetensors -o out.safetensors --no_record | grep -o 'F[0-9]*'

# The config beside an adapter is not that of its merges; what a header tells of ranks and alphas goes with them.
mkdir peft
p=base_model.model.mid_block.attentions.0.proj_in
make_tensors peft/adapter_model.safetensors '' "$p.lora_A.weight=F32[2,8]" "$p.lora_B.weight=F32[8,2]"
echo '{"r": 2, "lora_alpha": 16}' >peft/adapter_config.json
merge peft/adapter_model.safetensors:0.5 -o peft/half.safetensors
alphas() {
    "$LX" inspect "$1" --columns file,rank,alpha
}
alphas peft/adapter_model.safetensors
alphas peft/half.safetensors
make_tensors told.safetensors '"lora_adapter_metadata":"{\"unet.r\":2,\"unet.lora_alpha\":8}"' \
    unet.mid_block.attentions.0.proj_in.lora_A.weight=F32[2,8] unet.mid_block.attentions.0.proj_in.lora_B.weight=F32[8,2]
"$LX" resize told.safetensors --rank 1 -o out.safetensors --no_record >/dev/null
names 'told, resized' out.safetensors

# What a merge says of its model is what the files say, or else what their shapes tell; in a checkpoint the model's own.
said() {
    "$LX" inspect --metadata "$1" | grep -o '^ *\(modelspec.architecture\|ss_v2\|ss_base_model_version\).*'
}
# shellcheck disable=SC2046
{
    make_tensors sd2.safetensors '' $(module lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k 320 1024 2)
    make_tensors sd1.safetensors '' $(module lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k 320 768 2)
    make_tensors unknown.safetensors '' $(module lora_unet_x_to_k 8 8 2)
    make_tensors told.safetensors '"modelspec.architecture":"Flux.1-dev/lora","modelspec.resolution":"512x512"' \
        $(module lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k 320 768 2)
}
for file in sd1 sd2 xl_kohya unknown told; do
    echo "$file"
    merge $file.safetensors -o out.safetensors
    said out.safetensors
done
layer=model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight
make_tensors base.safetensors '"modelspec.architecture":"stable-diffusion-v1/inpainting","modelspec.resolution":"768x768"' \
    "$layer=F16[320,768]"
make_tensors silent_base.safetensors '' "$layer=F16[320,768]"
for base in base silent_base; do
    echo "into $base"
    rm -f out.safetensors
    "$LX" merge told.safetensors --into $base.safetensors -o out.safetensors --no_record >/dev/null || echo "exit $?"
    "$LX" inspect --metadata out.safetensors | grep -o 'modelspec.[ar][er][cs].*'
done
