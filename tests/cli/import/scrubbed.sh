# Tags that lost a name on their way out are known again at home, and where another store has them whole.
export USER=zorblax
"$LX" log --new a --end finished -q >/dev/null
"$LX" tag-run a +zorblax-style +zorblax-too +good >/dev/null
"$LX" export a -o scrubbed.lxb -q
"$LX" export a --no-scrub -o whole.lxb -q
"$LX" tag-run a +fair >/dev/null
"$LX" export a -o more.lxb -q
for store in here there elsewhere; do
    [ $store = here ] || export LX_STORE="$PWD/$store.store"
    files='scrubbed whole scrubbed more'
    [ $store = elsewhere ] && files='whole scrubbed more scrubbed'
    for file in $files; do
        echo "$store, $file: $("$LX" import $file.lxb | sed -n '2s/ .*//p')"
    done
    "$LX" sql --csv "select key from remark where kind='tag' order by key" | tail -n +2 | xargs
done
