# The rows as a page: verdicts with their proof, private names taken out, hostile names escaped, not overwritten.
. "$SOURCE/tests/support/lora.sh"
u=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k
mkdir -p lib
# shellcheck disable=SC2046
{
    make_tensors 'lib/<b>x.safetensors' "$(session_metadata 1 1 2 | sed 's/a b\\": 4}/a b\\": 4, \\"<script>\\": 2}/')" $(module $u 320 768 8)
    make_tensors lib/words.safetensors "$(session_metadata 1 1 2),\"modelspec.title\":\"/home/alice/x\"" $(module $u 320 768 8)
}
"$LX" inspect lib --html sheet.html
grep -c '<script>2\|<b>x' sheet.html
grep -o 'class="badge[^<]*' sheet.html
grep -o '<b>[0-9]*</b><span>[^<]*' sheet.html
"$LX" inspect lib --html sheet.html; echo "= $?"
"$LX" inspect lib --html x.html --csv; echo "= $?"
