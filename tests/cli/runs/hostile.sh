# Names, tags, notes and flags with escapes, HTML, formulas and line breaks stay inert.
esc=$(printf '\033')
bad=$(printf 'x\033[31mred\033]0;title\007<script>alert(1)</script>\nline\t"q",=1+1')
"$LX" log --new "$bad" --flag "output_name=$bad" --flag "=bad" loss=1 2>/dev/null
[ $? -eq 2 ] || exit 1
"$LX" log --new "$bad" --flag "optimizer_type=$bad" loss=1 >id || exit
id=$(cat id)
"$LX" log --new "=cmd|'/c calc'!A1" --flag optimizer_type=AdamW loss=1 >other || exit
"$LX" tag-run "$id" "+$bad" || exit
printf '%s' "$bad" | "$LX" note "$id" - || exit
"$LX" log "$id" "a=1" "${bad}=1" 2>/dev/null
[ $? -eq 2 ] || exit 1
"$LX" runs >runs && "$LX" show "$id" >show && "$LX" compare "$id" "$(cat other)" >compare &&
    "$LX" note "$id" >note && "$LX" tag-run "$id" >tags &&
    "$LX" sql 'select * from runs' >sql && "$LX" runs --columns name,notes,tags >columns || exit
for file in runs show compare note tags sql columns; do
    grep -q "$esc" "$file" && echo "$file holds an escape" && exit 1
    grep -q "$(printf '\007')" "$file" && echo "$file holds a bell" && exit 1
done
"$LX" runs --csv --columns name,tags,optimizer --sort name >csv && grep -q "^\"'=cmd\|^'=cmd" csv || {
    echo "a formula in CSV"
    cat csv
    exit 1
}
"$LX" runs --json --columns name,optimizer --sort -name | grep -q 'u001b' || exit
# What is very long takes no more than its place in a table, and is whole in CSV and JSON.
long=$(head -c 20000 /dev/zero | tr '\0' x)
"$LX" log --new long --flag "optimizer_type=$long" --flag lr=1 loss=1 >/dev/null || exit
"$LX" runs 'lr >= 0 or name = long' >table && "$LX" runs --columns optimizer,name >>table && [ "$(wc -L <table)" -lt 400 ] || {
    echo "a table of $(wc -L <table) columns"
    exit 1
}
"$LX" runs --columns optimizer --csv | grep -q "$long" && "$LX" runs --columns optimizer --json | grep -q "$long" || exit
"$LX" fsck >/dev/null
