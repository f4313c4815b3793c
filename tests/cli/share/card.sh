# A LoRA of a run with samples: the folder, its card, its hashes, private names taken out, nothing overwritten.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0
metadata="$(session_metadata 1 1 2 | sed 's/\\"a b\\": 4}/\\"zyx\\": 4, \\"1girl\\": 4, \\"red|hair\\": 3}/'),\"ss_vae_name\":\"/home/alice/vae.pt\",\"ss_training_comment\":\"by alice@corp.test\""
# shellcheck disable=SC2046
make_tensors style.safetensors "$metadata" $(module ${u}_attn2_to_k 320 768 8)
cp "$SOURCE/tests/golden/lora/a1111/lain.png" sample.png
run=$("$LX" log --new training)
"$LX" log "$run" --file style.safetensors --role lora -q
"$LX" log "$run" --file sample.png --role sample --end finished -q
"$LX" share style.safetensors -o out --license cc-by-4.0 --author 'A [B]' --title 'Style <1>' | sed "s/$(echo "$run" | cut -c1-10)/RUN/"
find out -type f | sort
sed "s/$run/RUN/; /Described by/d; /sample/d; /Steps: /d" out/README.md
grep -c alice out/README.md out/card.html out/share.json out/style.safetensors
cmp -s style.safetensors out/style.safetensors; echo "the file differs: $?"
"$LX" inspect out/style.safetensors --hashes | sed -n 's/.*\(AutoV3.*\)/\1/p'
"$LX" inspect style.safetensors --hashes | sed -n 's/.*\(AutoV3.*\)/\1/p'
sha256sum out/style.safetensors | cut -c1-10
"$LX" share style.safetensors -o out; echo "= $?"
# Words that the file itself brings.
. "$SOURCE/tests/support/lora.sh"
make_tensors words.safetensors '' unet:0:up=F16[320,4] unet:0:down=F16[4,768] '<s1>=F16[768]' '<s2>=F16[768]'
"$LX" share words.safetensors -o words >/dev/null && grep -A 1 '^Trigger' words/README.md
