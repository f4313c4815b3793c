# --samples 0 shares no picture of a run that has some, and the card shows none.
. "$SOURCE/tests/support/lora.sh"
# shellcheck disable=SC2046
make_tensors style.safetensors "$(session_metadata 1 1 2)" \
    $(module lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k 320 768 8)
cp "$SOURCE/tests/golden/lora/a1111/lain.png" one.png
cp one.png two.png
echo >>two.png
run=$("$LX" log --new training)
"$LX" log "$run" --file style.safetensors --role lora -q
"$LX" log "$run" --file one.png --role sample -q
"$LX" log "$run" --file two.png --role sample --end finished -q
for n in 0 1; do
    "$LX" share style.safetensors --samples $n -o out$n | grep -c 'samples/'
    find out$n -name '*.jpg' -o -name '*.png' -o -name samples | sort
    grep -c '^## Samples' out$n/README.md
    grep -c '<img' out$n/card.html
done
"$LX" share style.safetensors -o all | grep 'samples/' | sed "s/$(echo "$run" | cut -c1-10)/RUN/"
