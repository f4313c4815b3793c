# What stands beside a LoRA of PEFT says its alphas: when it is damaged, or no file at all, every command that needs them
# says so.
. "$SOURCE/tests/support/lora.sh"
mkdir peft
layer=base_model.model.mid_block.attentions.0.proj_in
make_tensors peft/adapter_model.safetensors '' "$layer.lora_A.weight=F32[2,8]" "$layer.lora_B.weight=F32[8,2]"
try() {
    "$LX" "$@" --no_record >/dev/null
    echo "$1: exit $?"
}
all() {
    try merge peft/adapter_model.safetensors peft/adapter_model.safetensors -o m.safetensors
    try convert peft/adapter_model.safetensors --to kohya -o c.safetensors
    try resize peft/adapter_model.safetensors --rank 1 -o r.safetensors
}
echo '{"r": 2, "lora_alpha": ' >peft/adapter_config.json
all
rm peft/adapter_config.json && mkdir peft/adapter_config.json
all
