# kill -9 of lx run at many moments: the store stays sound, and what was printed a second and a half before
# is there. LX_TEST_KILLS sets how many (12).
cat >train.sh <<'END'
i=0
while [ $i -lt 2000 ]; do
    i=$((i + 1))
    printf '\rsteps:  1%%|#| %d/2000 [00:01<00:09,  1.00it/s, avr_loss=0.5]' $i || exit
    sleep 0.01
done
END
i=0
while [ $i -lt "${LX_TEST_KILLS:-12}" ]; do
    i=$((i + 1))
    "$LX" run -q --name "run$i" -- sh train.sh >printed 2>/dev/null &
    pid=$!
    sleep "0.$(printf %02d $((i * 37 % 100)))"
    before=$(tr '\r' '\n' <printed | sed -n 's/.* \([0-9]*\)\/2000 .*/\1/p' | tail -n 1)
    sleep 1.5
    kill -KILL $pid
    wait $pid 2>/dev/null
    "$LX" fsck >found 2>&1 ||
        grep -q "no runs yet" found || { echo "kill $i"; cat found; exit 1; }
    got=$("$LX" sql --csv "SELECT coalesce(max(c.n), 0) FROM curves c JOIN runs r ON r.id = c.run
        WHERE r.name = 'run$i'" | tail -n 1)
    [ "$got" -ge "$((${before:-1} - 1))" ] || { echo "kill $i: $got points of $before"; exit 1; }
done
"$LX" runs --json 2>/dev/null | grep -c '"status": "interrupted"' | sed "s/^${LX_TEST_KILLS:-12}\$/all interrupted/"
