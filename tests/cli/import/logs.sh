# Saved consoles, whole, cut and in UTF-16: what they tell, and that twice is once.
[ -e "$LX_GOLDENS/lora/logs/lain.log" ] || { echo "skip: no goldens of logs" >&2; exit 77; }
for name in lain nikke_v1_interrupted two_runs_appended lain_utf16le_bom_crlf; do
    cp "$LX_GOLDENS/lora/logs/$name.log" .
    touch -d '2023-01-29 12:00:00' "$name.log"
done
export TZ=UTC
"$LX" import . >first || exit 1
sed 's/^new       [0-9a-f]\{10\}/new       ID/' first
"$LX" import . lain.log >second || exit 1
grep -c '^known' second
tail -n 1 second
"$LX" runs --json | grep -c '"kind": "import"'
"$LX" fsck >/dev/null
