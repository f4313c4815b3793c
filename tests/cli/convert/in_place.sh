# --to peft never writes over the folder that it reads, and a config is never there without its tensors.
. "$SOURCE/tests/support/lora.sh"
p=base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k
make_tensors m.safetensors '' "$p.lora_A.weight=F32[4,768]" "$p.lora_B.weight=F32[320,4]"
config='{"peft_type":"LORA","r":4,"lora_alpha":2,"target_modules":["to_k"],"hers":1}'
for name in style style/unet pipe/unet; do
    mkdir -p $name
    cp m.safetensors $name/adapter_model.bin
    echo "$config" >$name/adapter_config.json
done
mkdir kohya links
"$LX" convert style --to kohya -o kohya/k.safetensors --no_record >/dev/null || exit 1
ln -s style other
ln -s ../style/adapter_model.bin links/adapter_model.bin
try() {
    "$LX" convert "$@" --to peft
    echo "exit $?" >&2
}
try style -o style
try style -o other --no_record
try style/adapter_model.bin -o ./style/
try links/adapter_model.bin -o style
try pipe -o pipe
try pipe -o pipe/unet
try kohya/k.safetensors -o kohya
cat style/adapter_config.json pipe/unet/adapter_config.json
find . -name '*.safetensors' | sort
[ ! -e "$LX_STORE" ] && echo "no store"

# Not written, the tensors leave the config of those that are there.
"$LX" convert style --to peft -o new | tail -n 2
before=$(cat new/adapter_config.json)
rm new/adapter_model.safetensors
mkdir -p new/adapter_model.safetensors/in_the_way
sed 's/"r":4,"lora_alpha":2/"r":4,"lora_alpha":3/' style/adapter_config.json >c && mv c style/adapter_config.json
"$LX" convert style --to peft -o new 2>/dev/null; echo "exit $?"
[ "$(cat new/adapter_config.json)" = "$before" ] && ls -A new
mkdir -p fresh/adapter_model.safetensors/in_the_way
"$LX" convert style --to peft -o fresh 2>/dev/null; echo "exit $?"
ls -A fresh
rm -r new/adapter_model.safetensors
"$LX" convert style --to peft -o new >/dev/null || exit 1
grep -o '"lora_alpha": *[0-9]*' new/adapter_config.json
"$LX" runs --json | grep -o '"status": *"[a-z]*"' | sort | uniq -c
