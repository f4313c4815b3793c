# Pairs, JSON lines, steps that count on by themselves, bad lines told and passed over.
id=$("$LX" log --new script --kind mine --flag dim=8 --seed 3) || exit
"$LX" log "$id" loss=0.5 lr/unet=1e-4 || exit
"$LX" log "$id" loss=0.4 || exit
"$LX" log "$id" --step 10 loss=0.3 || exit
printf 'step=11 loss=0.25\n# a remark\n\n{"step": 12, "loss": 0.2}\nloss=0.1\n' | "$LX" log "$id" - || exit
printf 'loss\nloss=low\nstep=-1 loss=3\nstep=20 loss=nan\n' | "$LX" log "$id" -
echo "exit $?"
"$LX" sql "select key, n, first_step, last_step, last_value, min_value from curves order by key" || exit
"$LX" runs --columns name,kind,status,dim,seed,steps
"$LX" log "$id" --end done
echo "exit $?"
"$LX" log "$id" --end failed --message "it broke" || exit
"$LX" runs --columns name,status,message
"$LX" log "$id" loss=1 2>err
echo "exit $?"
sed 's/run [0-9a-f]*/run ID/' err >&2
"$LX" log nobody loss=1
echo "exit $?"
# A loss that is no number, or endless, is null in JSON, and the other runs are listed beside it.
"$LX" log --new endless loss=inf --end finished >/dev/null || exit
"$LX" runs --json | grep '"name"\|"loss"'
"$LX" sql --json "select min_value from curves where key = 'loss'" | grep '"min_value"'
# A step that diverged is in JSON what Python and W&B write.
printf '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": NaN}\n{"step": 3, "loss": "Infinity"}\n' |
    "$LX" log --new diverged - >/dev/null || exit
"$LX" sql "select key, n, last_step from curves where run = (select id from runs where name = 'diverged')"
# A flag is a number where nothing of what was written is lost.
"$LX" log --new words --flag zeros=007 --flag lr=1e-4 --flag ratio=0.10 --flag torch_version=1.10 --end finished >/dev/null
"$LX" sql "select key, typeof(value), value from flags where run = (select id from runs where name = 'words') order by key"
# What is wrong on the command line is told before there is a run.
"$LX" log --new bad loss=abc
echo "exit $?"
"$LX" log --new bad loss=1 --file nosuch
echo "exit $?"
"$LX" log --new bad loss=1 --file .
echo "exit $?"
"$LX" runs --columns name --csv 'name = bad'
