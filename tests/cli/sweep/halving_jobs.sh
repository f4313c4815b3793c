# The jobs of a rung begin one after the other: what runs already has still done the rung before, with the loss that it
# had there, whether its curves are copied yet or not. So each job takes a configuration of its own.
. "$SOURCE/tests/support/tiny.sh"
flags="$flags --max_train_steps 12 --network_dim 2 --output_dir out --seed 5"
$LX sweep --name h --lr 1e-6,1e-3,1e-2,1e-4 --halving --eta 2 -q --slurm-only-write -- train $flags >/dev/null
id=$(sed -n 's/.*--resume \([0-9a-f]*\) .*/\1/p' h.slurm)
for slot in 0 1 2 3; do
    $LX sweep --resume "$id" --rung 0 --slot $slot -q >/dev/null 2>&1
done
steps() {
    $LX sql "select name, max(last_step) as steps, count(*) as runs from runs where name like 'h-%'
        group by name" --csv | tr -d '\r'
}
steps
# The best is being trained by another job: it has no curves yet, and then it is past the rung and its loss has risen.
cat >job.sh <<'EOF'
until [ -e past ]; do sleep 0.02; done
for step in 1 2 3 4 5 6; do echo "steps:  $step/12 [00:01<00:00, 1it/s, avr_loss=9]"; done
until [ -e enough ]; do sleep 0.02; done
EOF
$LX run -q --name h-003 --group h --fact "sweep=$id" --fact sweep.trial=3 -- sh job.sh >/dev/null 2>&1 &
job=$!
until $LX runs --name h-003 --columns status -n 1 | grep -q running; do sleep 0.02; done
$LX sweep --resume "$id" --rung 1 --slot 0 2>&1 | sed 's/(run .*)/(run ID)/'
$LX sweep --resume "$id" --rung 1 --slot 1 -q 2>/dev/null && steps
: >past
until [ "$($LX runs --name h-003 --columns steps -n 1 | tail -1 | tr -d ' ')" -ge 4 ] 2>/dev/null; do sleep 0.02; done
$LX sweep --resume "$id" --rung 0 --slot 2
$LX sweep --resume "$id" --rung 1 --slot 1 -q 2>/dev/null && steps
: >enough
wait $job
