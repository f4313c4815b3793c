# A reader of standard output that goes away ends a command without a word; a full device is told as that.
[ -w /dev/full ] || { echo "skip: no /dev/full" >&2; exit 77; }
awk 'BEGIN { for (i = 1; i <= 20000; i++) print "step=" i " loss=0.5" }' | "$LX" log --new x - >/dev/null
closed() {
    "$LX" "$@" | head -n 1 >first
    [ -s first ] && echo "read"
}
closed export x --format csv
closed export x --format json
closed report x --format html
"$LX" export x --format csv >/dev/full
echo "exit $?"
"$LX" report x --format html >/dev/full
echo "exit $?"
