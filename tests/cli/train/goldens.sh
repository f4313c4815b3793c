# Every command line the peer was run with is understood, or refused by the name of the flag.
found=false
for file in "$LX_GOLDENS"/e2e/*/command.txt; do
    [ -e "$file" ] || continue
    found=true
    (cd "$(dirname "$file")" && "$LX" debug flags "$(cat "$file")" >/dev/null) || exit 1
done
for file in "$LX_GOLDENS"/data/dataset/parse/*.json; do
    [ -e "$file" ] || continue
    case $file in *toml_* | *validation_split*) continue ;; esac
    found=true
    sed -n '/"argv": \[/,/\]/s/^ *"\(--.*\)",\{0,1\}$/\1/p' "$file" >words
    set --
    while IFS= read -r word; do set -- "$@" "$word"; done <words
    [ $# -gt 3 ] && "$LX" debug flags "$@" >/dev/null || exit 1
done
$found || { echo "skip: no goldens at $LX_GOLDENS" >&2; exit 77; }
