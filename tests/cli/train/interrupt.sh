# Ctrl-C saves what was trained, records the run as interrupted with its curve, exits 130. After a
# kill -9 the run is shown as interrupted too, with the curve it had.
make=$(dirname "$LX")/tests/make_checkpoint
picture=$LX_GOLDENS/e2e/data/reg/1_1girl/reg00.png
[ -x "$make" ] && [ -e "$picture" ] || { echo "skip: no $make or no $picture" >&2; exit 77; }
"$make" tiny tiny.safetensors || exit 1
mkdir -p "img/2_iwl 1girl"
cp "$picture" "img/2_iwl 1girl/a.png"
start() {
    "$LX" train --pretrained_model_name_or_path tiny.safetensors --text_encoder_heads 4 \
        --train_data_dir img --resolution 64 --enable_bucket --min_bucket_reso 64 --cache_latents \
        --network_module networks.lora --learning_rate 1e-3 --max_train_steps 100000 --seed 1 \
        --output_dir "$1" --output_name "$1" >"$1.out" 2>"$1.err" &
    pid=$!
    for i in $(seq 1200); do
        grep -q '^step ' "$1.err" && return
        kill -0 $pid 2>/dev/null || break
        sleep 0.1
    done
    cat "$1.err"
    exit 1
}
start stopped
kill -INT $pid
wait $pid
[ $? -eq 130 ] && [ -s stopped/stopped.safetensors ] || { cat stopped.err; exit 1; }
start killed
kill -KILL $pid
wait $pid 2>/dev/null
[ ! -e killed/killed.safetensors ] || exit 1
for name in stopped killed; do
    "$LX" show --json $name >show || { cat show; exit 1; }
    grep -q '"interrupted"' show && grep -q '"loss"' show || { cat show; exit 1; }
done
# A closed terminal stops as Ctrl-C does, though it hang up twice; under nohup it is ignored.
start hungup
kill -HUP $pid; kill -HUP $pid
wait $pid
[ $? -eq 130 ] && [ -s hungup/hungup.safetensors ] && [ -s hungup/hungup-autosave/state.safetensors ] || { cat hungup.err; exit 1; }
grep -q 'goes on from hungup/hungup-autosave' hungup.err || { cat hungup.err; exit 1; }
(
    trap '' HUP
    start ignoring
    kill -HUP $pid
    sleep 0.3
    kill -TERM $pid
    wait $pid
    [ $? -eq 130 ] && [ -s ignoring/ignoring.safetensors ] && "$LX" show --json ignoring | grep -q '"interrupted"'
) || { cat ignoring.err; exit 1; }
"$LX" fsck
