# --new with -: the run begins, prints its id and ends with the input; a file goes with it.
printf 'LoRA' >out.bin
printf 'step=1 loss=0.5\nstep=2 loss=0.25\n' | "$LX" log --new streamed - --file out.bin --role lora >id || exit
"$LX" runs --columns name,status,steps,loss
"$LX" show "$(cat id)" --json | grep -o '"role": "lora"\|"name": "out.bin"\|"bytes": 4'
"$LX" show ./out.bin 2>&1 | sed -n 's/run [0-9a-f]*/run ID/; 1p'
cp out.bin other.bin
printf x >>other.bin
"$LX" show ./other.bin 2>&1 | sed 's/[0-9a-f]\{16\}\.\.\./HASH.../'
# Interrupted in the middle of a line: half of one is none.
mkfifo half
run=$("$LX" log --new half)
"$LX" log "$run" - <half 2>/dev/null &
exec 3>half
printf 'step=1 loss=0.5\nstep=2 loss=0.1' >&3
sleep 1
kill $!
sleep 0.5
exec 3>&-
wait $!
"$LX" sql "select n, last_value from curves where run = (select id from runs where name = 'half')" --csv | tail -n 1
# sd-scripts' curve is drawn where there is no other.
printf 'step=1 loss/average=0.5\nstep=2 loss/average=0.4\n' | "$LX" log --new other - >/dev/null
"$LX" show other | grep -c ' |'
