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
"$LX" fsck >/dev/null
