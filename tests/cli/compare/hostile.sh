# Captions of 1 MB with HTML and escapes, file names with line breaks: inert in the terminal, in JSON, and in the pages.
pictures=$LX_GOLDENS/e2e/data/reg/1_1girl
[ -e "$pictures/reg00.png" ] || { echo "skip: no $pictures" >&2; exit 77; }
esc=$(printf '\033')
bad=$(printf 'x\033[31mred\033]0;title\007<script>alert(1)</script><img src=x onerror=alert(2)>')
folder="img/2_iwl 1girl"
mkdir -p "$folder"
name="$folder/a
x${esc}[31m<img src=x>"
cp "$pictures/reg00.png" "$name.png"
cp "$pictures/reg01.png" "$folder/b.png"
echo "iwl, solo" >"$name.txt"
echo "iwl" >"$folder/b.txt"
cat >train_network.py <<'END'
printf 'steps: 100%%|#| 2/2 [00:01<00:01,  1.00it/s, avr_loss=0.5]\n'
END
record() { # NAME
    "$LX" run -q --name "$1" -- sh train_network.py --train_data_dir img --resolution 64 --caption_extension .txt \
        --network_module networks.lora --optimizer_type "$2" >/dev/null 2>told || { cat told; exit 1; }
}
record one AdamW
{
    printf 'iwl, %s, ' "$bad"
    head -c 1000000 /dev/zero | tr '\0' '<'
    printf '\n'
} >"$name.txt"
cp "$pictures/reg02.png" "$folder/$(printf 'c\nd\033[2J.png')"
echo "iwl" >"$folder/$(printf 'c\nd\033[2J.txt')"
record two "$bad"
"$LX" compare one two >text && "$LX" compare --all one two >all && "$LX" compare --json one two >json &&
    "$LX" compare one two -q -o page.html && "$LX" report one two -q -o report.html && "$LX" report two -q -o report.md || exit
"$LX" show two >shown && "$LX" sql --csv "SELECT * FROM artifacts" >csv && "$LX" runs --csv >>csv || exit
for file in text all json csv shown report.md page.html report.html; do
    LC_ALL=C grep -q "$(printf '[\001-\010\013-\037]')" $file && echo "$file holds a control character"
done
for file in page.html report.html; do
    grep -qE '<script>alert|<img src=x' $file && echo "a text became markup in $file"
done
grep -c '^  + \|^  ~ ' text
sed -n 's/^  + //p' text
grep -c '"kind": "' json
