# kill -9 of lx run at many moments, of twenty at once in one store: the store stays sound after each, and what was
# printed a second and a half before is there. One in four is killed while it starts. LX_TEST_KILLS sets how many (200).
command -v bash >/dev/null || { echo "skip: no bash" >&2; exit 77; }
mkfifo clock
cat >train.sh <<'END'
exec 9<>clock
for ((i = 1; i <= 2000; i++)); do
    printf '\rsteps:  1%%|#| %d/2000 [00:01<00:09,  1.00it/s, avr_loss=0.5]' $i || exit
    read -rt 0.02 -u 9
done
END
cat >one.sh <<'END'
i=$1
"$LX" run -q --name "run$i" -- bash train.sh >"printed$i" 2>/dev/null &
pid=$!
before=
if [ $((i % 4)) -eq 0 ]; then
    sleep "0.$(printf %03d $((i * 37 % 250)))"
else
    while [ ! -s "printed$i" ] && kill -0 $pid; do sleep 0.05; done
    sleep "0.$(printf %02d $((i * 37 % 100)))"
    before=$(tr '\r' '\n' <"printed$i" | sed -n 's/.* \([0-9]*\)\/2000 .*/\1/p' | tail -n 1)
    sleep 1.5
fi
kill -KILL $pid
wait $pid 2>/dev/null
"$LX" fsck >"found$i" 2>&1 ||
    grep -q "no runs yet" "found$i" || { echo "kill $i"; cat "found$i"; exit 255; }
got=$("$LX" sql --csv "SELECT coalesce(max(c.n), 0) FROM curves c JOIN runs r ON r.id = c.run
    WHERE r.name = 'run$i'" 2>/dev/null | tail -n 1)
[ "${got:-0}" -ge "$((${before:-1} - 1))" ] || { echo "kill $i: $got points of $before"; exit 255; }
echo "$before" >>counted
END
kills=${LX_TEST_KILLS:-200}
seq "$kills" | xargs -P 20 -n 1 sh one.sh || exit 1
[ "$(grep -c . counted)" -ge $((kills * 3 / 4)) ] || echo "only $(grep -c . counted) of $kills had printed a step"
"$LX" runs --all --csv --columns status | tail -n +2 | sort -u
