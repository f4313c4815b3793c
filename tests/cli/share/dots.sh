# A dot in the name is the name's: only the ending of the file goes, in the title and where web UIs look for it.
. "$SOURCE/tests/support/lora.sh"
k=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
# shellcheck disable=SC2046
make_tensors hifumi-v1.5.safetensors '' $(module $k 320 768 4)
cp hifumi-v1.5.safetensors 'v2.0'
for file in hifumi-v1.5.safetensors v2.0; do
    "$LX" share $file -o "up-$file" >/dev/null || exit
    ls "up-$file"
    grep -h '^# \|In web UIs' "up-$file/README.md"
    sed 's/<[^>]*>//g' "up-$file/card.html" | grep -o 'In web UIs: .*:1&gt;'
    grep '"title"' "up-$file/share.json"
done
