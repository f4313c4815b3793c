# kill -9 of lx merge and lx resize at many moments: the output is whole or not there, the store stays sound, and
# nothing that was left behind is in the way of the next. LX_TEST_KILLS sets how many (200).
. "$SOURCE/tests/support/tiny.sh"
for seed in 1 2; do
    "$LX" train $flags --max_train_steps 1 --network_dim 4 --seed $seed --output_dir . --output_name $seed >log 2>&1 ||
        { cat log; exit 1; }
done
two="1.safetensors:0.7 2.safetensors:0.4"
merge() { "$LX" merge $two -o "$1" --name "$2"; }
resize() { "$LX" resize 1.safetensors --rank 2 -o "$1" --name "$2"; }
"$LX" tag-run "$("$LX" runs --csv --columns id -n 1 | tail -n 1)" +made=before >/dev/null || exit 1
merge m.safetensors first >/dev/null && resize r.safetensors first >/dev/null || exit 1
wanted="$(tensors m.safetensors) $(tensors r.safetensors)"
i=0 whole=0 kills=${LX_TEST_KILLS:-200}
while [ $i -lt $kills ]; do
    i=$((i + 1))
    rm -f m.safetensors r.safetensors
    # Not by the functions: the shell would be killed, and lx would live on beside what comes next.
    "$LX" merge $two -o m.safetensors --name "m$i" >/dev/null 2>&1 &
    sleep "0.0$(printf %02d $((i * 7 % 60)))"
    kill -KILL $! 2>/dev/null
    wait $! 2>/dev/null
    "$LX" resize 1.safetensors --rank 2 -o r.safetensors --name "r$i" >/dev/null 2>&1 &
    sleep "0.0$(printf %02d $((i * 11 % 60)))"
    kill -KILL $! 2>/dev/null
    wait $! 2>/dev/null
    for name in m r; do
        [ -e $name.safetensors ] || continue
        whole=$((whole + 1))
        case "$wanted" in
            *"$(tensors $name.safetensors)"*) ;;
            *) echo "kill $i: $name.safetensors is not whole"; exit 1 ;;
        esac
    done
    [ $((i % 5)) -ne 0 ] || "$LX" fsck >found 2>&1 || { echo "kill $i"; cat found; exit 1; }
done
[ $whole -gt 0 ] && [ $whole -lt $((kills * 2)) ] || echo "$whole of $((kills * 2)) were whole: the kills came too late or too early" >&2
merge m.safetensors last >/dev/null && resize r.safetensors last >/dev/null || exit 1
[ "$(tensors m.safetensors) $(tensors r.safetensors)" = "$wanted" ]
