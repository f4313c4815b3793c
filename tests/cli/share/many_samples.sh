# As many pictures as --samples says, above 200 as well; a number without end is no wish for memory.
. "$SOURCE/tests/support/lora.sh"
# shellcheck disable=SC2046
make_tensors style.safetensors "$(session_metadata 1 1 2)" \
    $(module lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k 320 768 8)
run=$("$LX" log --new training)
"$LX" log "$run" --file style.safetensors --role lora -q
set --
for i in $(seq 205); do
    { cat "$SOURCE/tests/golden/lora/a1111/lain.png" && echo "$i"; } >"$i.png"
    set -- "$@" --file "$i.png"
done
"$LX" log "$run" "$@" --role sample --end finished -q
for n in 3 202 9000000000000000000; do
    "$LX" share style.safetensors --samples $n -o "out$n" | grep 'samples/' | sed "s/$(echo "$run" | cut -c1-10)/RUN/"
    find "out$n/samples" -type f | wc -l
done
