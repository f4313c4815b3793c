# Asked to stop, a training may save; its run is interrupted, its curve is there.
cat >train.sh <<'END'
trap 'echo; echo saving; exit 1' TERM
i=0
while [ $i -lt 100 ]; do
    i=$((i + 1))
    printf '\rsteps:  1%%|#| %d/100 [00:01<00:09,  1.00it/s, avr_loss=0.5]' $i
    sleep 0.05
done
END
"$LX" run --name stopped -- sh train.sh >printed 2>told &
pid=$!
while ! grep -q ' 9/100' printed; do sleep 0.05; done
kill -TERM $pid
wait $pid
echo "exit $?"
tail -n 1 printed # a shell starts its background jobs with SIGINT ignored: TERM it is
"$LX" sql "SELECT status, substr(message, 1, 13), last_step >= 9, n_points >= 9 FROM runs"
"$LX" fsck >/dev/null
