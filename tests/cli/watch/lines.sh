# What is new, as lines, until the runs have ended; hostile names and consoles are inert; another process
# writes meanwhile.
esc=$(printf '\033')
"$LX" watch
echo "exit $?"
id=$("$LX" log --new "$(printf 'a\033]0;t\007\nb')" --flag max_train_steps=40 --step 3 loss=0.5)
"$LX" log "$id" --step 4 loss=0.25 epoch=2
"$LX" watch "$id" --once | sed "s/^[0-9a-f]*/ID/; s/[0-9.]* s.step .*left/N s\/step/"
(
    for step in 5 6 7 8; do
        sleep 0.3
        "$LX" log "$id" --step $step loss=0.1$step
    done
    "$LX" log "$id" --end finished
) &
"$LX" watch "$id" --interval 0.1 >told
echo "exit $?"
wait
grep -c "$esc" told
tail -1 told | sed "s/^[0-9a-f]*/ID/; s/[0-9.]* s.step/N s\/step/"
[ "$(grep -c . told)" -ge 3 ] && echo "several lines"
cat >trainer.sh <<'EOF'
printf 'first line\nloading 1/2\rloading 2/2\nlast\033[31m line\n'
for step in 1 2 3; do printf '\rsteps:  %s/3 [00:01<00:00, 1it/s, avr_loss=0.%s]' $step $step; sleep 0.3; done
echo
EOF
"$LX" run -q --name console -- sh trainer.sh >/dev/null 2>&1 &
n=0
until "$LX" runs --name console --csv 2>/dev/null | grep -q running; do
    n=$((n + 1))
    [ $n -lt 200 ] || exit 1
    sleep 0.05
done
"$LX" watch --interval 0.1 >told
echo "exit $?"
wait
grep -c "$esc" told
grep -o '| .*line' told
grep -o 'console .*loss [0-9.]*' told | tail -1
tail -1 told | grep -o 'finished'
"$LX" watch nothing
echo "exit $?"
"$LX" watch "$id" --interval 0
echo "exit $?"
# A letter that is a digit is no number.
"$LX" watch -1
"$LX" watch "$id" -1 | grep -o 'finished'
