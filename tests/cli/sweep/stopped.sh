# Stopped by a signal, and killed: what was trained goes on from its state, to the very bytes.
. "$SOURCE/tests/support/tiny.sh"
flags="$flags --max_train_steps 200 --network_dim 2 --output_dir out"
$LX train $flags --seed 1 --learning_rate 1e-3 --output_name whole --quiet >/dev/null 2>&1 || exit 1

steps() { $LX runs --name "$1" --columns steps -n 1 2>/dev/null | tail -1 | tr -d ' '; }
# Wait until the run called $1 has done a few steps.
under_way() {
    n=0
    until s=$(steps "$1") && [ "${s:-0}" -ge 3 ] 2>/dev/null; do
        n=$((n + 1))
        [ $n -lt 600 ] || { echo "$1 does not start" && exit 1; }
        sleep 0.05
    done
}
status() { $LX runs --name "$1" --columns status -n 1 | tail -1; }

$LX sweep --name s --lr 1e-3,1e-4 -q -- train $flags >/dev/null 2>log &
under_way s-001
kill -TERM $!
wait $!
echo "exit $?"
tail -1 log
status s-001
$LX runs --kind sweep --columns name,status

$LX sweep --resume s -q >/dev/null 2>log &
under_way s-002
kill -9 $!
wait $! 2>/dev/null
n=0
while [ "$(status s-002)" = running ] && [ $n -lt 400 ]; do # it is told to stop
    n=$((n + 1))
    sleep 0.05
done
status s-002
$LX sweep --resume s >table 2>log
echo "exit $?"
grep '^\[' log | sed 's/step [0-9]*/step N/'
grep -c finished table
[ "$(tensors out/whole.safetensors)" = "$(tensors out/s-001.safetensors)" ] && echo "the same tensors"
# The run that went on has the curve of all steps.
$LX sql "select name, n, first_step, curves.last_step as last from curves
    join runs on runs.id = curves.run where key = 'loss' and status = 'finished' and name like 's-%'" --csv | tr -d '\r'
$LX runs --kind sweep --columns name,status
$LX fsck >/dev/null
