# On a terminal one frame is drawn over the last, no wider than the terminal, and it ends with the run.
command -v script >/dev/null || { echo "skip: no script (bsdutils)" >&2; exit 77; }
id=$("$LX" log --new "$(printf 'x\033[2Jhostile')" --flag max_train_steps=60 --step 1 loss=0.9)
for step in 2 3 4 5 6 7 8 9 10; do "$LX" log "$id" --step $step loss=0.$((99 - step * 9)); done
(
    sleep 1.5
    "$LX" log "$id" --step 11 loss=0.05
    sleep 1
    "$LX" log "$id" --end finished
) &
TERM=xterm script -q -c "stty cols 60 rows 20; '$LX' watch '$id' --interval 0.2" /dev/null >frames </dev/null
wait
esc=$(printf '\033')
grep -c "${esc}\[2J" frames
grep -q "${esc}\[[0-9]*A" frames && echo "drawn over"
tr -d '\r' <frames | sed "s/${esc}\[[0-9;]*[A-Za-z]//g" >plain
grep -o 'step 11/60.*finished' plain | sed 's/[0-9.]* s.step/N s\/step/' | tail -1
[ "$(wc -L <plain)" -lt 60 ] && echo "within the terminal"
grep -q '⢸\|⠒\|⠤\|⠉' plain && echo "a curve"
