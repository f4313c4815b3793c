# Another trainer's command: values stand where {FLAG} is, else over the one that is there, else behind.
cat >trainer.sh <<'EOF'
echo "got $*"
for step in 1 2 3 4; do echo "steps:  $step/4 [00:01<00:00, 1it/s, avr_loss=0.$2$4]"; done
[ "$2$4" != 32 ]
EOF
$LX sweep --name r --lr 3,1,2 --out=a --dry-run -- run --tag t -- sh trainer.sh --lr {lr} --out x --name {name}
$LX sweep --name r --lr 3,1,2 --seeds 2 -q -- run -q --tag t -- sh trainer.sh lr {lr} >table 2>log
echo "exit $?"
grep -o 'got .*' log
sed 's/ [0-9a-f]\{10\} / ID /; s/(run [0-9a-f]*)/(run ID)/' table
$LX runs --kind run --columns name,status,group,tags --sort name
$LX sweep --resume r 2>&1 >/dev/null | grep -c '^\['
# A curve that none of the runs has judges nothing.
$LX sweep --name s --lr 1,2 --metric nope -q -- run -q -- sh trainer.sh lr {lr} >table 2>log
echo "exit $?: $(grep metric log)"
