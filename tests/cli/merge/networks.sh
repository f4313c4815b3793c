# Files that name one network's layers in two ways: one set of names, or none.
. "$SOURCE/tests/support/lora.sh"
factors() { # of diffusers': NAME OUT IN
    printf '%s.lora_A.weight=F16[1,%s] %s.lora_B.weight=F16[%s,1]' "$1" "$3" "$1" "$2"
}
try() {
    rm -f out.safetensors
    "$LX" merge "$@" --rank exact -o out.safetensors --no_record
    echo "exit $?"
    [ ! -e out.safetensors ] || head -c 4096 out.safetensors | grep -ao '"[a-z][A-Za-z0-9_.]*\(down\|_A\)\.weight"' | sort
}
# Flux.1: layers that sd-scripts has fused, in diffusers' parts, in OneTrainer's, under XLabs' processors.
# shellcheck disable=SC2046
{
    make_tensors kohya.safetensors '' $(module lora_unet_double_blocks_0_img_attn_qkv 9216 3072 1) \
        $(module lora_unet_single_blocks_0_linear1 21504 3072 1)
    make_tensors diffusers.safetensors '' $(factors transformer.transformer_blocks.0.attn.to_q 3072 3072) \
        $(factors transformer.single_transformer_blocks.0.attn.to_q 3072 3072)
    make_tensors peft.safetensors '' $(factors base_model.model.transformer_blocks.0.attn.to_q 3072 3072) \
        $(factors base_model.model.single_transformer_blocks.0.attn.to_q 3072 3072)
    make_tensors onetrainer.safetensors '' $(module transformer.double_blocks.0.img_attn.qkv.0 3072 3072 1)
    make_tensors xlabs.safetensors '' double_blocks.0.processor.qkv_lora1.down.weight=F16[1,3072] \
        double_blocks.0.processor.qkv_lora1.up.weight=F16[9216,1]
    make_tensors odd.safetensors '' $(module lora_unet_transformer_blocks_0_attn_to_q 3072 3072 1)
}
for other in diffusers peft onetrainer xlabs; do
    try kohya.safetensors $other.safetensors
    "$LX" convert $other.safetensors --to kohya -o converted.safetensors --no_record | grep =
    try kohya.safetensors converted.safetensors
done
try peft.safetensors diffusers.safetensors
try odd.safetensors kohya.safetensors
try diffusers.safetensors diffusers.safetensors

# Wan's layers have two names, and lx does not know which is which.
# shellcheck disable=SC2046
{
    make_tensors wan.safetensors '' $(factors diffusion_model.blocks.0.self_attn.q 1536 1536)
    make_tensors wan_kohya.safetensors '' $(module lora_unet_blocks_0_self_attn_q 1536 1536 1)
    make_tensors wan_diffusers.safetensors '' $(factors transformer.blocks.0.attn1.to_q 1536 1536)
}
try wan.safetensors wan_diffusers.safetensors
try wan.safetensors wan_kohya.safetensors

# SDXL's UNet by the original paths and by diffusers', both with sd-scripts' prefix.
# shellcheck disable=SC2046
{
    make_tensors sgm.safetensors '' $(module lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k 640 2048 1)
    make_tensors sdxl.safetensors '' $(module lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_v 640 2048 1) \
        $(module lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn2_to_k 640 2048 1)
}
try sgm.safetensors sdxl.safetensors
try sdxl.safetensors sgm.safetensors
try sdxl.safetensors sdxl.safetensors
