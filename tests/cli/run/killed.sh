# kill -9 of lx itself: what was recorded a second before is there, and the run is interrupted.
cat >train.sh <<'END'
i=0
while [ $i -lt 200 ]; do
    i=$((i + 1))
    printf '\rsteps:  1%%|#| %d/200 [00:01<00:09,  1.00it/s, avr_loss=0.5]' $i || exit
    sleep 0.05
done
END
"$LX" run --name killed -- sh train.sh >printed 2>/dev/null &
pid=$!
while ! grep -q ' 40/200' printed; do sleep 0.05; done
kill -KILL $pid
wait $pid 2>/dev/null
echo "exit $?"
"$LX" runs --json | grep -o '"status": "[a-z]*"'
"$LX" sql "SELECT n >= 15, last_value FROM curves"
"$LX" fsck >/dev/null
