# A stop that was asked for beforehand is no failure, and lx resume goes on from it, in the same group;
# what an earlier run had switched on can be taken back.
. "$SOURCE/tests/support/tiny.sh"
flags="$flags --max_train_steps 6 --seed 1 --network_dim 2 --output_dir out --quiet"
$LX train $flags --output_name whole --flip_aug --name whole >/dev/null 2>&1 || exit 1
$LX train $flags --output_name a --flip_aug --name a --group g --fact sweep=x --fact other=1 \
    --stop_after_steps 3 2>/dev/null >/dev/null
echo "exit $?"
$LX runs --name a --columns status,steps,message
$LX resume a >/dev/null 2>&1 || exit 1
$LX runs 'group = g' --columns status,steps --sort steps
[ "$(tensors out/whole.safetensors)" = "$(tensors out/a.safetensors)" ] && echo "the same tensors"
$LX sql 'select run = (select id from runs where status = "finished" and name = "a") as is_new, key,
    value from facts where key not in ("cwd", "steps.total") order by run = is_new, key, is_new' --csv 2>/dev/null | tr -d '\r' | sort
$LX train --like whole --flip_aug=false --output_name b 2>&1 >/dev/null | grep -o 'from here:.*'
$LX show b --json | grep '"flip_aug"'
$LX show b | grep -o -- '--flip_aug=false'
$LX train --like whole --flip_aug=perhaps
echo "exit $?"
$LX train $flags --stop_after_steps 0
echo "exit $?"
$LX train $flags --fact =1
echo "exit $?"
