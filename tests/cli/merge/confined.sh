# A merge reads its files and writes its output and the store; the state of the code is asked for before. Confined and
# unconfined, the same bytes come out.
. "$SOURCE/tests/support/lora.sh"
command -v git >/dev/null || { echo "skip: git is not here" >&2; exit 77; }
export GIT_AUTHOR_DATE=2024-01-01T00:00:00Z GIT_COMMITTER_DATE=2024-01-01T00:00:00Z
git init -q . && git config user.name a && git config user.email a@example.com
mkdir in out
for i in 1 2; do
    make_tensors in/$i.safetensors '"ss_network_module":"networks.lora"' lora_unet_mid_block_attentions_0_proj_in.lora_down.weight=F16[4,8] \
        lora_unet_mid_block_attentions_0_proj_in.lora_up.weight=F16[8,4]
done
echo 'print(1)' >train.py
git add train.py && git commit -q -m one
echo 'print(2)' >train.py
"$LX" merge in/1.safetensors in/2.safetensors:0.5 -o out/inside.safetensors
LX_SANDBOX=off "$LX" merge in/1.safetensors in/2.safetensors:0.5 -o out/outside.safetensors >/dev/null
for name in inside outside; do
    "$LX" show out/$name.safetensors --json >$name.json 2>/dev/null
    grep -o '"commit": *"[0-9a-f]*"' $name.json | grep -cx ".*$(git rev-parse HEAD)."
    grep -Eo '"changed": *1' $name.json
done
"$LX" convert in/1.safetensors --to peft -o out/folder/of/peft >/dev/null 2>&1
ls out/folder/of/peft
"$LX" resize in/1.safetensors --rank 2 -o small.safetensors >/dev/null && ls small.safetensors
# A store that is not there is made, and not left behind by what fails.
LX_STORE="$PWD/new/deep/store" "$LX" merge in/none.safetensors -o out/x.safetensors 2>&1
ls -d new 2>/dev/null
LX_STORE="$PWD/new/deep/store" "$LX" merge in/1.safetensors in/2.safetensors -o out/x.safetensors >/dev/null
LX_STORE="$PWD/new/deep/store" "$LX" runs --columns kind,status
# A folder that is not there
"$LX" merge in/1.safetensors in/2.safetensors -o nowhere/x.safetensors 2>&1
echo "exit $?"
