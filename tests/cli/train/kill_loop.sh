# kill -9 of lx train and lx resume at many moments: what lies under a final name is what a training that nobody
# disturbs leaves there, the store stays sound after each kill, and in the end a training that was killed again and again
# ends with the very same tensors. LX_TEST_KILLS sets how many (200).
. "$SOURCE/tests/support/tiny.sh"
"$make" nano nano.safetensors || exit 1
flags="$(echo "$flags" | sed 's/tiny.safetensors --text_encoder_heads 4/nano.safetensors --text_encoder_heads 2/')
    --network_dim 2 --learning_rate 1e-3 --seed 7 --max_train_steps 12 --save_every_n_steps 3 --save_state -q"
"$LX" --store quiet train $flags --output_dir quiet-out --output_name t >log 2>&1 || { cat log; exit 1; }
for file in quiet-out/*.safetensors; do tensors "$file"; done | sort -u >wanted
i=0 last= kills=${LX_TEST_KILLS:-200}
while [ $i -lt $kills ]; do
    i=$((i + 1))
    # A new training every fourth time; else the last one goes on, where it left a state.
    if [ $((i % 4)) -eq 1 ] || ! ls -d out/*-state >/dev/null 2>&1; then
        rm -rf out
        set -- train $flags --output_dir out --output_name t
    else
        set -- resume "$last" -- -q
    fi
    timeout -s KILL "0.$(printf %03d $((60 + i * 37 % 300)))" "$LX" "$@" >log 2>&1
    last=$("$LX" runs --kind train --csv --columns id -n 1 2>/dev/null | tail -n 1)
    for file in out/*.safetensors; do
        [ ! -e "$file" ] || tensors "$file" | grep -qxFf wanted || { echo "kill $i: $file is not whole"; exit 1; }
    done
    [ $((i % 5)) -ne 0 ] || [ ! -e "$LX_STORE/store.db" ] || "$LX" fsck >found 2>&1 || grep -q "no runs yet" found ||
        { echo "kill $i"; cat found; exit 1; }
done
if [ "$("$LX" runs --kind train --csv --columns status -n 1 | tail -n 1 | tr -d '\r')" = finished ]; then
    : # the last one was faster than its kill
elif ls -d out/*-state >/dev/null 2>&1; then
    "$LX" resume "$last" >log 2>&1 || { cat log; exit 1; }
else
    "$LX" train $flags --output_dir out --output_name t >log 2>&1 || { cat log; exit 1; }
fi
[ "$(tensors out/t.safetensors)" = "$(tensors quiet-out/t.safetensors)" ]
