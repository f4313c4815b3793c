# What may not become as large as it would (ulimit -f) is an error, and nothing half written stays.
. "$SOURCE/tests/support/lora.sh"
make_tensors big.safetensors '' lora_unet_mid_block_attentions_0_proj_in.lora_down.weight=F16[8,8000] \
    lora_unet_mid_block_attentions_0_proj_in.lora_up.weight=F16[8000,8] lora_unet_mid_block_attentions_0_proj_in.alpha=F16[]
(ulimit -f 100; "$LX" convert big.safetensors --precision f32 -o out.safetensors 2>err; echo "$?")
grep -c 'File too large' err
find . -name '.lx-*' -o -name 'out.safetensors'
