# Every damaged or hostile model file of tests/badfiles is refused with 65 and the place; in a folder
# each has its row and nothing else happens.
files=${LX_BADFILES:-$SOURCE/tests/badfiles}
tr -d '\n' <"$files/manifest.json" | tr '{' '\n' | sed -n 's/.*"file": *"\([^"]*\)".*"expect": *"reject".*/\1/p' |
    grep -E '^(st|ckpt)_' | sort >rejected
[ "$(wc -l <rejected)" -gt 60 ] || echo "too few: $(wc -l <rejected)"
while read -r name; do
    "$LX" inspect "$files/$name" >out 2>message
    status=$?
    [ $status -eq 65 ] || echo "$name: $status"
    grep -Eq 'byte [0-9]|"|data\.pkl|member|empty' message || { echo "$name:"; cat message; }
done <rejected
"$LX" inspect "$files" --where 'what = broken' --columns name --csv 2>/dev/null | tr -d '\r' | grep -E '^(st|ckpt)_' | sort >broken
diff rejected broken && echo "all of them, and no others"
