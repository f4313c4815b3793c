# How many steps a trainer that lx run watches will take, by epochs: known from what it prints, while it runs.
cat >train_network.py <<'END2'
printf 'running training\n  num train images * repeats: 16\n  num epochs: 2\n  total optimization steps: 40\n'
printf 'epoch 1/2\n\rsteps:   5%%|#| 2/40 [00:01<00:19,  1.00it/s, avr_loss=0.5]'
printf '\rsteps:   8%%|#| 3/40 [00:02<00:18,  1.00it/s, avr_loss=0.4]'
while [ ! -e over ]; do sleep 0.1; done
END2
cat >epochs.py <<'END2'
printf '\rEpoch 1:   5%%|#| 2/40 [00:01<00:19,  1.00it/s, loss=0.5]'
printf '\rEpoch 1:   8%%|#| 3/40 [00:02<00:18,  1.00it/s, loss=0.4]'
while [ ! -e over ]; do sleep 0.1; done
END2
look() { # once there is a step
    rm -f over
    "$LX" run -q --name "$1" -- sh "$1.py" --max_train_epochs 2 >/dev/null 2>&1 &
    n=0
    until "$LX" watch --once 2>/dev/null | grep 'step 3' >seen; do
        n=$((n + 1))
        [ $n -lt 200 ] || break
        sleep 0.05
    done
    sed 's/^[0-9a-f]*/ID/; s/[0-9.]* s.step/N s\/step/; s/  [0-9hms: ]* left/  T left/' seen
    touch over
    wait
}
look train_network
look epochs
"$LX" sql --csv "SELECT r.name, f.key, f.value FROM facts f JOIN runs r ON r.id = f.run WHERE f.key LIKE '%total%'
    ORDER BY r.name, f.key"
