# -n of a bundle, with a store and without, and nothing is taken.
"$LX" log --new a --end finished loss=1 >/dev/null && "$LX" log --new b --end finished loss=2 >/dev/null || exit 1
"$LX" export --all -o all.lxb 2>/dev/null || exit 1
for store in none full; do
    export LX_STORE=$store
    [ $store = full ] && "$LX" log --new c --end finished loss=3 >/dev/null
    "$LX" import -n all.lxb | tail -n 1
    mkdir -p scratch && TMPDIR=$PWD/scratch "$LX" import -n all.lxb | tail -n 1
done
ls -d none 2>&1 | grep -c 'No such'
ls -A scratch
"$LX" runs --columns name
