# Event files of a trainer in a session of its own and of one whose parent has ended are the run's; those that a trainer
# beside it writes into the same folder are not.
command -v setsid >/dev/null || { echo "skip: no setsid (util-linux)" >&2; exit 77; }
file=$SOURCE/tests/fuzz/corpus/tfevents/file
mkdir logs
cat >write.sh <<'END2'
cp "$1" "logs/events.out.tfevents.1700000000.host.$$.0"
[ "$2" = other ] || exec sleep 2.5
touch "$2"
while [ ! -e "$2.done" ]; do sleep 0.1; done
END2
points() {
    "$LX" sql --csv "SELECT coalesce(sum(c.n), 0) FROM runs r LEFT JOIN curves c ON c.run = r.id
        WHERE r.name = '$1'" | sed -n 2p
}
"$LX" run -q --name session -- setsid -w sh write.sh "$file" --logging_dir logs
echo "its own session: $(points session)"
rm logs/*
echo 'setsid -w sh -c "sh write.sh \"$1\" & wait"; :' >launch.sh
"$LX" run -q --name deep -- sh launch.sh "$file" --logging_dir logs
echo "further down: $(points deep)"
rm logs/*
"$LX" run -q --name orphan -- sh -c '(setsid sh write.sh "$1" "" &); sleep 3' x "$file" --logging_dir logs
echo "its parent has ended: $(points orphan)"
rm logs/*
# Its neighbour is there before and after the run's child.
sh -c 'while [ ! -e go ]; do sleep 0.1; done; exec sh write.sh "$1" other' x "$file" &
"$LX" run -q --name beside -- sh -c 'touch go; sleep 2' x --logging_dir logs
echo "a neighbour's: $(points beside)"
touch other.done
wait
rm logs/* other other.done
sh -c 'while [ ! -e go2 ]; do sleep 0.1; done; (setsid sh write.sh "$1" other); :' x "$file" &
"$LX" run -q --name beside2 -- sh -c 'touch go2; while [ ! -e other ]; do sleep 0.1; done; sleep 1.5' \
    x --logging_dir logs
echo "a later neighbour's: $(points beside2)"
touch other.done
wait
