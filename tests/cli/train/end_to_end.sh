# The peer's three command lines, pasted as they stand: the same tensors with one thread and with two,
# and the metadata that the peer wrote.
make=$(dirname "$LX")/tests/make_checkpoint
goldens=$LX_GOLDENS/e2e
[ -x "$make" ] && [ -d "$goldens/data/train" ] || { echo "skip: no $make or no $goldens" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
cp -r "$goldens/data" . && chmod -R u+w data || exit 1

# run NAME THREADS [FLAG...] - the pasted line as one word
run() {
    name=$1 threads=$2
    shift 2
    "$LX" train "$(cat "$goldens/$name/command.txt")" --text_encoder_heads 4 --threads "$threads" \
        --quiet "$@" >>log 2>&1 || { cat log; exit 1; }
}
# The tensors of a .safetensors file: what follows its header.
tensors() {
    tail -c +$(($(od -An -tu8 -N8 "$1") + 9)) "$1"
}
# The metadata of JSON, a key a line, without what no two runs share and what names the program.
metadata() {
    sed -n 's/^ *\("[^"]*": ".*"\),\{0,1\}$/\1/p' "$1" | grep -v -E '^"(lx\.|ss_session_id|ss_training_'\
'(started|finished)_at|modelspec\.(date|implementation_version)|sshs_)' | LC_ALL=C sort
}
check() {
    name=$1 file=$2
    shift 2
    run "$name" 1 "$@"
    mv "out/$file.safetensors" one.safetensors
    run "$name" 2 "$@"
    tensors one.safetensors >one
    tensors "out/$file.safetensors" >two
    [ -s one ] && cmp one two || { echo "$name: other tensors with two threads"; exit 1; }
    "$LX" inspect --json "out/$file.safetensors" | sed -n '/^  "metadata": {/,/^  }/p' >json
    metadata json >got
    metadata "$goldens/$name/$file.metadata.json" >wanted
    [ -s wanted ] && diff -u wanted got || exit 1
}
check caption_txt caption-txt
check reg reg
"$LX" train "$(cat "$goldens/no_caption_extension/command.txt")" --text_encoder_heads 4 2>err
[ $? -eq 1 ] && grep -q -e '--caption_extension .txt' err || { cat err; exit 1; }
check no_caption_extension no-caption-extension --allow-untagged
# The same once more gives the same once more.
run caption_txt 1
mv out/caption-txt.safetensors one.safetensors
run caption_txt 1
tensors one.safetensors >one
tensors out/caption-txt.safetensors >two
cmp one two
