# Another lx holds the store for longer than anybody waits while LoRAs are saved, and to beyond the last step: the training
# goes on, and all is recorded when it is over.
. "$SOURCE/tests/support/tiny.sh"
"$LX" train $flags --max_train_steps 24 --save_every_n_steps 6 --seed 1 --output_dir out --output_name busy >seen 2>said &
pid=$!
for i in $(seq 1200); do
    [ -e out/busy-step00000006.safetensors ] && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.05
done
python3 "$SOURCE/tests/support/hold_lock.py" "$LX_STORE" 12
wait $pid
echo "exit $?"
"$LX" sql "SELECT status, c.n FROM runs JOIN curves c ON run=id AND key='loss'"
"$LX" sql "SELECT role, name FROM artifacts WHERE role='lora' ORDER BY name"
"$LX" fsck >checked || cat checked
