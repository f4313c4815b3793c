# A curve keeps its name in a bundle, as it is known by it: that somebody's name is in it is told, once.
export USER=zorblax
for name in a b; do
    run=$("$LX" log --new $name)
    "$LX" log "$run" --step 1 loss=0.5 loss/zorblax=0.25 -q
    "$LX" log "$run" --end finished -q
done
"$LX" export a b -o t.lxb 2>&1 | grep -v '^wrote'
"$LX" --store there import t.lxb -q >/dev/null
"$LX" --store there sql --csv "select distinct key from series order by key" | tail -n +2 | xargs
"$LX" export a b -o whole.lxb --no-scrub 2>&1 | { grep -c curve || true; }
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
git init -q --bare r.git
"$LX" push r.git 2>&1 | grep '^note'
