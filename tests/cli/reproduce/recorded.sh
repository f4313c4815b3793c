# A command that lx run recorded is run again: its data, its base model and its code are compared first, its output goes
# elsewhere, and the LoRAs or the losses say whether the same came out.
. "$SOURCE/tests/support/lora.sh"
[ -d "$LX_GOLDENS/e2e/data/train" ] || { echo "skip: no golden images" >&2; exit 77; }
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
cp -r "$LX_GOLDENS/e2e/data/train" img
make_lora ready.safetensors "$(session_metadata 11 1 2)"
make_lora base.safetensors ""
mkdir code
cat >code/train_network.py <<'END'
while [ $# -gt 0 ]; do
    [ "$1" != --output_dir ] || out=$2
    shift
done
for i in 1 2 3 4; do
    printf '\rsteps: %3d%%|###       | %d/4 [00:0%d<00:01,  1.00it/s, avr_loss=0.%d]' $((i * 25)) $i $i $((10 - i)) >&2
done
mkdir -p "$out"
cp "${READY:-ready.safetensors}" "$out/it.safetensors"
END
git -C code init -q . && git -C code add . && git -C code -c user.name=x -c user.email=x@example.com commit -qm x || exit 1
echo '# changed' >>code/train_network.py
echo 'a source' >code/extra.py
"$LX" run -q --name first -- sh code/train_network.py --pretrained_model_name_or_path base.safetensors \
    --train_data_dir img --caption_extension .txt --output_dir 'the out' --output_name it --network_module networks.lora \
    --network_dim=8 --learning_rate 1e-4 >/dev/null 2>&1
ids() { sed 's/sha256 [0-9a-f]*/sha256 SUM/; s/run [0-9a-f]\{10\}/run ID/; s/commit [0-9a-f]*/commit SUM/; s/at [0-9a-f]\{12\}/at SUM/'; }
id=$("$LX" sql --csv "SELECT id FROM runs" | tail -n 1)
(cd / && "$LX" reproduce first -q 2>/dev/null) | ids
ls -d "the out" reproduce-$(echo $id | cut -c 1-10)/it.safetensors | sed "s/$(echo $id | cut -c 1-10)/ID/"
"$LX" sql "SELECT name, (SELECT value FROM facts f WHERE f.run = r.id AND key = 'reproduces') = '$id' AS again FROM runs r ORDER BY seq"
echo "another LoRA:"
{ head -c -4 ready.safetensors; printf '\001\000\000\100'; } >near.safetensors
READY=near.safetensors "$LX" reproduce "the out/it.safetensors" -q 2>/dev/null | tail -n 1
{ head -c -4 ready.safetensors; printf '\000\000\100\100'; } >other.safetensors
READY=other.safetensors "$LX" reproduce "the out/it.safetensors" -q 2>/dev/null | tail -n 1
echo "--json keeps what the command prints away:"
"$LX" reproduce "$id" -q --json 2>/dev/null | grep -c '"outcome": "identical"'
echo "what is not as it was:"
echo "iwl, other" >"img/2_iwl 1girl/img00.txt"
printf x >>base.safetensors
echo '# again' >>code/train_network.py
rm code/extra.py
"$LX" reproduce "$id" --check 2>&1 | ids | sed 's/base.safetensors: .*/base.safetensors: .../'
git -C code -c user.name=x -c user.email=x@example.com commit -qam y
"$LX" reproduce "$id" 2>/dev/null | ids | grep code
mv img away
"$LX" reproduce "$id" 2>/dev/null | grep img
echo "a command without a LoRA, with a secret, that fails:"
"$LX" run -q --name bare -- sh -c 'for i in 1 2; do printf "\rsteps: 50%%|#| $i/2 [00:01<00:01,  1.00it/s, avr_loss=0.5]"; done; echo' x "it's" >/dev/null 2>&1
"$LX" reproduce bare -q 2>/dev/null | tail -n 1 | ids
"$LX" run -q --name secret -- true --hf_token abc
"$LX" reproduce secret -q
echo $?
"$LX" run -q --name once -- sh -c '[ ! -e there ] && touch there'
"$LX" reproduce once -q 2>&1 | tail -n 1
"$LX" fsck >/dev/null
