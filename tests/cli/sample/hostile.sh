# Prompts that nobody writes: refused in a sentence, or harmless; never slow, never a crash.
model="$LX_GOLDENS/model/tiny.safetensors"
[ -e "$model" ] || { echo "skip: no $model" >&2; exit 77; }
draw() {
    timeout 60 "$LX" sample --base "$model" --text_encoder_heads 4 --no_record --seed 1 -W 64 -H 64 \
        --steps 1 -o x.png "$@"
    echo "= $?" >&2
}
many() { head -c "$1" /dev/zero | tr '\0' "$2"; }
many 1000000 a >long.txt
draw --prompt_file long.txt
many 1000000 , >commas.txt
draw --prompt_file commas.txt
many 100000 '(' >open.txt
draw --prompt_file open.txt
many 100000 ')' >close.txt
draw --prompt_file close.txt
many 100000 '[' >square.txt
draw --prompt_file square.txt
{ many 900 '['; printf 'a|b:c:0.5'; many 900 ']'; } >deep.txt
draw --prompt_file deep.txt
many 100000 '<' >tags.txt
draw --prompt_file tags.txt
draw -p '(a:1e30)'
draw -p '(a:999999999)'
draw -p "$(printf 'a\tb\\')"
printf '\377\376' >latin.txt
draw --prompt_file latin.txt
