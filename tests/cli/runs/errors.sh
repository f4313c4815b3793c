# What is wrong with a query is told with its column; exit 2.
"$LX" log --new a loss=1 >id || exit
for query in 'los < 3' 'loss < 0.06 and dim =' 'loss < low' 'status = finished)' 'started > 3d' \
    'started >= 2026-02-29' 'started < 2026-04-31' \
    'min(nothing) < 1' 'name ~ "open'; do
    "$LX" runs "$query"
    [ $? -eq 2 ] || echo "$query: not 2" >&2
done
"$LX" runs --sort nonsense
[ $? -eq 2 ] || echo "sort: not 2" >&2
"$LX" runs --columns name,networkdim
[ $? -eq 2 ] || echo "columns: not 2" >&2
"$LX" runs --json --csv
[ $? -eq 2 ] || echo "both: not 2" >&2
"$LX" runs --status finshed
[ $? -eq 2 ] || echo "status: not 2" >&2
for n in 0 -1; do
    "$LX" runs -n $n
    [ $? -eq 2 ] || echo "-n $n: not 2" >&2
done
"$LX" runs --columns foo
[ $? -eq 2 ] || echo "field: not 2" >&2
"$LX" log --new b --kind probe loss=1 >id || exit
"$LX" runs --kind probes
[ $? -eq 2 ] || echo "kind: not 2" >&2
"$LX" runs --kind probe --columns name,kind >&2
"$LX" runs --kind train
"$LX" runs --columns ''
[ $? -eq 2 ] || echo "no column: not 2" >&2
"$LX" --store id runs
[ $? -eq 66 ] || echo "a file: not 66" >&2
