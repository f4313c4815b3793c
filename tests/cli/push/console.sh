# A run goes to another store while it is under way, and again when it has ended: its console is there once, and whole.
git init -q --bare r.git 2>/dev/null || { echo "skip: no git" >&2; exit 77; }
other=$PWD/other
cat >work.sh <<END
echo first line
i=0
while [ \$i -lt 100 ] && ! "$LX" sql "select 1 from runs" --csv | grep -q 1; do sleep 0.1; i=\$((i + 1)); done
sleep 2
"$LX" push -q r.git >/dev/null
"$LX" --store "$other" pull -q r.git >/dev/null
"$LX" --store "$other" show part | grep -c '^status *running'
echo second line
END
"$LX" run -q --name part -- sh work.sh >/dev/null 2>err || cat err
"$LX" push -q r.git >/dev/null
for store in "$other" "$LX_STORE"; do
    "$LX" --store "$store" pull -q r.git >/dev/null
    "$LX" --store "$store" push -q r.git >/dev/null
done
"$LX" --store "$other" push -q r.git >/dev/null
"$LX" pull -q r.git >/dev/null
for store in "$other" "$LX_STORE"; do
    "$LX" --store "$store" sql "select count(*), min(size) from artifacts where role = 'console'" --csv | tail -n 1
done
