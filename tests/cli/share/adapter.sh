# An adapter of PEFT's goes with the config that has its alphas, under the names that PEFT looks for.
. "$SOURCE/tests/support/lora.sh"
p=base_model.model.mid_block.attentions.0.proj_in
mkdir peft
make_tensors peft/adapter_model.safetensors '' "$p.lora_A.weight=F32[2,8]" "$p.lora_B.weight=F32[8,2]"
echo '{"r": 2, "lora_alpha": 16, "base_model_name_or_path": "/home/alice/models/sd"}' >peft/adapter_config.json
make_tensors peft/other.safetensors '' lora_unet_x_to_k.lora_down.weight=F32[2,8] lora_unet_x_to_k.lora_up.weight=F32[8,2]
"$LX" share peft/adapter_model.safetensors -o out | grep -v 'licence\|AutoV'
find out -type f | sort
cat out/adapter_config.json
grep -e alpha out/README.md
for folder in peft out; do
    "$LX" inspect $folder/adapter_model.safetensors --columns rank,alpha | sed -n 2p
done
"$LX" share peft/other.safetensors -o other | grep share.json
find other -type f | sort
