# A grid with seeds: all are trained but the one that fails; --resume tries that one only, and a
# finished sweep trains nothing more. The runs are a group, and what they were trained with is theirs.
. "$SOURCE/tests/support/tiny.sh"
flags="$flags --max_train_steps 4"
: >blocked # a file where the second folder is to be
$LX sweep --name s --output-dir out,blocked/out --seeds 2 -q -- train $flags --seed 7 --network_dim 2 \
    >table 2>log
echo "exit $?"
cut -d' ' -f1 table | sort | tr '\n' ' '
echo
grep -c finished table
grep "lx sweep: s-00" log | sort -u
$LX runs 'group = s and kind = train' --columns name,status,seed,dim --sort name --all
rm blocked
$LX sweep --resume s >table 2>log
echo "exit $?"
grep '^\[' log
$LX sweep --resume s >again 2>log
echo "exit $?"
cmp table again && grep -c . log
$LX runs --kind sweep --columns name,status,group
$LX runs --kind train --all --csv | tail -n +2 | wc -l
[ "$(tensors out/s-002.safetensors)" = "$(tensors blocked/out/s-004.safetensors)" ] && echo "seed 8 twice"
$LX sweep --results s --json | grep -c '"status": "finished"'
$LX fsck >/dev/null
