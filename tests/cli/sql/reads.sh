# Reads, with bound values, in three forms; refuses to write, attach or run two statements.
"$LX" log --new one --flag dim=4 loss=0.5 lr=1e-4 >id || exit
"$LX" sql 'select name, kind, last_step, loss from runs' || exit
"$LX" sql 'select key, value from flags where run = ?1' "$(cat id)" --csv || exit
"$LX" sql "select 1 as a, 2.5 as b, 'x' as c, null as d, x'00ff' as e, 9007199254740993 as f" --json || exit
# A word is a number or a text as what it is compared with has it.
"$LX" log --new 7 --flag dim=8 --flag learning_rate=1e-4 loss=0.05 >/dev/null || exit
"$LX" log --new 1.10 --flag 'scheduler=007 or so' loss=0.25 >/dev/null || exit
ask() { "$LX" sql "$@" --csv | tail -n +2 | paste -sd' ' | sed "s/^/$2: /"; }
for bound in 0.06 0.10 1e-1 6; do ask "select name from runs where loss < ?1 order by seq" "$bound"; done
for name in 7 1.10 1.1 1e5 007; do ask "select loss from runs where name = ?1" "$name"; done
for value in 4 8 0.0001 1e-4 '007 or so'; do ask "select key from flags where value = ?1" "$value"; done
ask "select key from flags where value = ?1 + 0" 1e-4
"$LX" sql "select typeof(?1), typeof(?2), typeof(?3), typeof(?4), typeof(?5)" -- 9223372036854775807 9223372036854775808 -1 -0.5 ''
for statement in 'delete from run' "attach 'x.db' as x" 'select 1; select 2' 'select nosuch from runs' \
    'pragma journal_mode=delete' 'create temp table t(a)' '' 'select ?1'; do
    "$LX" sql "$statement" >out
    echo "$? $statement"
    cat out
done
"$LX" runs --columns name
# As many values as the statement has places; remarks behind it; columns of one name.
for words in 'select ?1; a b' 'select 1; a' 'select ?2; a' 'select 1 as x; -- the end' 'select 1 as x /* first */; /* and more' \
    'select 1; -- one
select 2'; do
    case $words in
    *'; -- '* | *'/*'*) "$LX" sql "$words" ;;
    *) "$LX" sql "${words%;*}" ${words#*;} ;;
    esac
    echo "exit $?"
done
for statement in 'select 1; - 1' 'select 1; / 1' 'select 1; /* one */ -- two' 'select 1; /* not closed'; do
    "$LX" sql "$statement"
    echo "exit $?"
done
"$LX" sql 'select 1' a b
"$LX" sql --json 'select 1 as name, 2 as name, 3 as name_2, 4 as name'
"$LX" sql --csv 'select 1 as name, 2 as name'
