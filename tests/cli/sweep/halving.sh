# Successive halving: all to step 3, half of them to 6, the best to the end, each from where it stopped:
# so many steps are trained and no more, and the best has the bytes of a training that never stopped.
. "$SOURCE/tests/support/tiny.sh"
flags="$flags --max_train_steps 12 --network_dim 2 --output_dir out --seed 5"
$LX sweep --name h --lr 1e-6,1e-3,1e-2,1e-4 --halving --eta 2 -q -- train $flags >table 2>log
echo "exit $?"
sed 's/ [0-9a-f]\{10\} / ID /; s/(run [0-9a-f]*)/(run ID)/; s/ *[0-9.]*$//' table
$LX sql "select name, count(*) as runs, max(last_step) as steps from runs where kind = 'train'
    group by name" --csv | tr -d '\r'
grep '"steps"' log
best=$(sed -n 's/^best: \(h-[0-9]*\) .*/\1/p' table)
rate=$(sed -n 's/^best: .* lr \([^:]*\): loss.*/\1/p' table)
$LX train $flags --learning_rate "$rate" --output_name whole --quiet >/dev/null 2>&1
[ "$(tensors out/whole.safetensors)" = "$(tensors "out/$best.safetensors")" ] && echo "the same tensors"
$LX sweep --resume h >again 2>log && cmp table again && grep -c '^\[' log
$LX sweep --name v --lr 1e-3,1e-2 --halving --min-steps 12 --dry-run -- train $flags | grep rung
$LX sweep --lr 1,2 --halving -- run -- true
