# Reads, with bound values, in three forms; refuses to write, attach or run two statements.
"$LX" log --new one --flag dim=4 loss=0.5 lr=1e-4 >id || exit
"$LX" sql 'select name, kind, last_step, loss from runs' || exit
"$LX" sql 'select key, value from flags where run = ?1' "$(cat id)" --csv || exit
"$LX" sql "select 1 as a, 2.5 as b, 'x' as c, null as d, x'00ff' as e, 9007199254740993 as f" --json || exit
for statement in 'delete from run' "attach 'x.db' as x" 'select 1; select 2' 'select nosuch from runs' \
    'pragma journal_mode=delete' 'create temp table t(a)' '' 'select ?1'; do
    "$LX" sql "$statement" >out
    echo "$? $statement"
    cat out
done
"$LX" runs --columns name
