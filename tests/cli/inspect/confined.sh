# Confined (src/base/sandbox.h), a command shows what it shows unconfined: links that lead out of a folder, what lies
# beside a file, files that only the store knows of. Links in a circle end.
. "$SOURCE/tests/support/lora.sh"
mkdir -p loras elsewhere/deep peft
make_lora elsewhere/linked.safetensors "$(session_metadata 1 1 1)"
make_lora elsewhere/deep/below.safetensors "$(session_metadata 2 1 1)"
make_lora loras/plain.safetensors "$(session_metadata 3 1 1)"
ln -s ../elsewhere/linked.safetensors loras/link.safetensors
ln -s ../elsewhere/deep loras/folder
ln -s . loras/circle
ln -s .. loras/circle2
ln -s "$PWD/loras" elsewhere/deep/back
make_tensors peft/adapter_model.safetensors '' \
    base_model.model.layers.0.q_proj.lora_A.weight=F32[4,8] base_model.model.layers.0.q_proj.lora_B.weight=F32[8,4]
echo '{"peft_type": "LORA", "r": 4, "lora_alpha": 8}' >peft/adapter_config.json
make_lora kept.safetensors "$(session_metadata 4 1 1)"
"$LX" import kept.safetensors >/dev/null
run=$("$LX" runs --json | grep -o '"id": *"[^"]*"' | head -n 1 | cut -d'"' -f4)
look() {
    "$LX" inspect loras --columns file,steps
    "$LX" inspect 'loras/*k.safetensors' --columns file,steps
    "$LX" inspect peft/adapter_model.safetensors
    "$LX" inspect "$run"
    rm -f page.html
    "$LX" inspect loras --html page.html
    grep -c plain.safetensors page.html
    cat loras/plain.safetensors | "$LX" inspect /dev/stdin
    "$LX" inspect <loras/plain.safetensors /dev/fd/0
}
look >inside 2>&1
LX_SANDBOX=off look >outside 2>&1
cmp inside outside && cat inside
say() { # builds that measure coverage are not confined, and say so
    sed -n 's/^sandbox: off (built to measure coverage)/it is told/p; s/^sandbox: [^o].*/it is told/p; s/^sandbox: \(off.*\)/\1/p; /^lx/p'
}
"$LX" inspect -v loras/plain.safetensors 2>&1 >/dev/null | say
LX_SANDBOX=off "$LX" inspect -v loras/plain.safetensors 2>&1 >/dev/null | say
"$LX" config set sandbox false >/dev/null 2>&1
"$LX" inspect -v loras/plain.safetensors 2>&1 >/dev/null | say
"$LX" config unset sandbox >/dev/null 2>&1
mkdir .lx && echo 'sandbox = false' >.lx/config
"$LX" inspect -v loras/plain.safetensors 2>&1 >/dev/null | say
