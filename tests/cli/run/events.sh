# Event files in --logging_dir: their curves, the bar's loss beside them; lx import knows the files.
cat >train.sh <<'END'
mkdir -p logs/20230101/network_train
printf '\rsteps:  50%%|#| 1/2 [00:01<00:01,  1.00it/s, avr_loss=0.1]'
printf '\rsteps: 100%%|#| 2/2 [00:01<00:01,  1.00it/s, avr_loss=0.2]\n'
[ -z "$1" ] || cp "$1" "logs/20230101/network_train/events.out.tfevents.1700000000.host.$$.0"
END
mkdir logs
cp "$SOURCE/tests/fuzz/corpus/tfevents/file" logs/events.out.tfevents.1600000000.host.1.0 # an old one
curves() {
    "$LX" sql --csv "SELECT c.key, c.n, c.last_step, c.last_value FROM curves c JOIN runs r ON r.id = c.run
        WHERE r.name = '$1' ORDER BY c.key"
}
"$LX" run -q --name with -- sh train.sh "$SOURCE/tests/fuzz/corpus/tfevents/file" --logging_dir logs >/dev/null
curves with
# Nobody wrote any: the bar is all there is.
"$LX" run -q --name without -- sh train.sh '' --logging_dir logs >/dev/null
curves without
"$LX" import logs/20230101 | tail -n 1
"$LX" sql --csv "SELECT role, name LIKE 'events.out%', is_kept FROM artifacts WHERE role = 'events'"
"$LX" fsck >/dev/null
