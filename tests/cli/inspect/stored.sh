# LoRAs of the store: by run, by name in it, by hash; the LoRAs that a picture names.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
# shellcheck disable=SC2046
{
    make_tensors one.safetensors '' $(module $u 320 768 8)
    make_tensors two.safetensors '' $(module $u 320 768 4)
}
run=$("$LX" log --new training)
"$LX" log "$run" --file one.safetensors --role lora -q
"$LX" log "$run" --file two.safetensors --role lora --end finished -q
hash=$(sha256sum one.safetensors | cut -c1-12)
rm one.safetensors two.safetensors
short=$(echo "$run" | cut -c1-10)
"$LX" inspect training 2>&1 | sed "s/$short/RUN/g"
"$LX" inspect "$run:one.safetensors" --json | grep -E '"(file|what|base)"'
"$LX" inspect "$hash" | head -2
"$LX" inspect "$run:three" 2>&1 | sed "s/$short/RUN/g"
"$LX" inspect 0000000; echo "= $?"
"$LX" inspect nothing.safetensors; echo "= $?"
# A picture that names the first one by the hash of its tensors, and one that nobody knows.
cp "$SOURCE/tests/cli/inspect/lora_hashes.png" .
"$LX" inspect lora_hashes.png | sed -n "s/$short/RUN/; /Lora hashes/p; /LoRA found/p"
