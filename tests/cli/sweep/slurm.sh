# The script and what sbatch is called with, against a Slurm that runs every job of an array at once.
. "$SOURCE/tests/support/tiny.sh"
mkdir bin
cat >bin/sbatch <<'EOF'
#!/bin/sh
printf 'sbatch' >>calls
printf ' <%s>' "$@" >>calls
echo >>calls
[ "$1" = --parsable ] || exit 1
last=${2#--array=0-}
shift 2
case $1 in --dependency=*) shift ;; esac
n=0
while [ $n -le "$last" ]; do
    SLURM_ARRAY_TASK_ID=$n sh "$@" >>tasks 2>&1 || echo "task $n of $2: $?" >>failed
    n=$((n + 1))
done
jobs=$(grep -c . calls)
echo "4$jobs;cluster"
EOF
chmod +x bin/sbatch
PATH=$PWD/bin:$PATH
flags="$flags --max_train_steps 8 --network_dim 2 --seed 3 --output_dir out"
mkdir "it's here" && cd "it's here" && ln -s ../img ../tiny.safetensors . || exit 1
$LX sweep --name s --lr 1e-3,1e-2 -q --slurm --slurm-option=--time=0:10:00 --slurm-option=--mem=2G \
    -- train $flags
echo "exit $?"
sed "s|$LX|LX|; s/--resume [0-9a-f]*/--resume ID/" s.slurm
cat calls
$LX sweep --results s >table && grep -c finished table
$LX runs --kind sweep --columns name,status
: >calls
$LX sweep --name h --lr 1e-6,1e-3,1e-2,1e-4 --halving --eta 2 --slurm -q -- train $flags
cat calls
$LX sql "select name, max(last_step) as steps, count(*) as runs from runs where name like 'h-%'
    group by name" --csv | tr -d '\r'
$LX sweep --resume h -q | tail -1 | sed 's/run [0-9a-f]*/run ID/'
$LX sweep --name w --lr 1,2 -q --slurm-only-write -- train $flags
$LX sweep --name x --lr 1,2 --halving --eta 2 --slurm-only-write -q -- train $flags
cat failed 2>/dev/null
for bad in 'x' '--wrap=reboot;' '--array=1-3' '--mem=1 G' '--comment=$(reboot)'; do
    $LX sweep --name bad --lr 1,2 --slurm-only-write "--slurm-option=$bad" -- train $flags
    echo "exit $?"
done
printf '#!/bin/sh\necho "sbatch: error: no such partition" >&2\nexit 1\n' >../bin/sbatch
$LX sweep --name refused --lr 1,2 --slurm -q -- train $flags
echo "exit $?"
PATH=/nowhere $LX sweep --resume refused --slurm -q
echo "exit $?"
