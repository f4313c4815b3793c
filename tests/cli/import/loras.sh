# A folder of LoRA files: the epochs of a training are one run, twice is once, later files are added.
. "$SOURCE/tests/support/lora.sh"
mkdir -p loras/deep/er
make_lora loras/style11-000001.safetensors "$(session_metadata 11 1 3)"
make_lora loras/deep/style11-000002.safetensors "$(session_metadata 11 2 3)"
make_lora loras/deep/er/style11.safetensors "$(session_metadata 11 3 3)"
make_lora loras/cut_off-000001.safetensors "$(session_metadata 12 1 5)"
make_lora loras/resized.safetensors "$(session_metadata 12 2 5 | sed 's/dim":"4"/dim":"Dynamic"/')"
make_lora loras/merged.safetensors '"ss_network_dim":"4"'
make_lora loras/hostile.safetensors \
    "$(session_metadata 13 1 1 | sed 's/style13/\\u001b[31m<script>\\u202e/')"
echo "not one" >loras/broken.safetensors
ln -s .. loras/round
export TZ=UTC
"$LX" import --dry-run loras | tail -n 2
[ ! -e "$LX_STORE" ] || echo "a dry run made a store"
"$LX" import loras loras/deep ./loras >first 2>problems # a path twice is once, too
sed 's/^\(new *\) [0-9a-f]\{10\}/\1 ID/' first
grep -c '^problem' problems
"$LX" import loras | tail -n 2
make_lora loras/style11-000004.safetensors "$(session_metadata 11 4 3)"
"$LX" import loras | grep -v '^known' | sed 's/^\([a-z]*\) *[0-9a-f]\{10\}/\1 ID/'
"$LX" sql "SELECT name, status, last_step FROM runs WHERE name <> '' ORDER BY started LIMIT 2"
"$LX" sql "SELECT a.name, a.step, length(a.tensor_hash) FROM artifacts a ORDER BY a.name"
"$LX" sql "SELECT f.key, f.value FROM flags f JOIN runs r ON r.id = f.run WHERE r.name = 'style11'
    AND f.key NOT LIKE 'zz%' ORDER BY f.key"
"$LX" sql "SELECT f.key, f.value FROM facts f JOIN runs r ON r.id = f.run WHERE r.name = 'style11'
    AND f.key NOT LIKE 'import.path' ORDER BY f.key"
"$LX" fsck >/dev/null
