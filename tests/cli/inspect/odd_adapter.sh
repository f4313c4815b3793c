# An adapter_config.json that can be read, but is none, or is of another file: said by who uses it.
. "$SOURCE/tests/support/lora.sh"
mkdir peft
layer=base_model.model.mid_block.attentions.0.proj_in
make_tensors peft/adapter_model.safetensors '' "$layer.lora_A.weight=F32[2,8]" "$layer.lora_B.weight=F32[8,2]"
try() {
    echo "== $1"
    rm -f c.safetensors
    echo "$1" >peft/adapter_config.json
    "$LX" inspect peft/adapter_model.safetensors | grep 'adapter_config\|alpha'
    "$LX" convert peft/adapter_model.safetensors --to kohya -o c.safetensors --no_record 2>&1 >/dev/null
}
try '{"peft_type": "LORA", "r": 2, "lora_alpha": 2}'
try '[]'
try '{"peft_type": "LORA", "r": 64, "lora_alpha": 2}'
try '{"peft_type": "LORA", "r": "2", "lora_alpha": 2}'
try '{"peft_type": "\u001b[2J", "r": 2}'
try '{"r": 2, "lora_alpha": 2}'
