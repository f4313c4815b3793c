# A picture that is in the data twice counts once, and the plan is that of those that are left.
. "$SOURCE/tests/support/tiny.sh"
"$LX" train $flags --max_train_steps 3 --learning_rate 1e-2 --seed 7 --output_dir out --output_name a -q >/dev/null 2>&1 || exit 1
verify() { # IMAGE...
    "$LX" verify out/a.safetensors --base tiny.safetensors --text_encoder_heads 4 --data img --threads 1 \
        --resolution 64,64 --draws 4 --tags 1 --json >out.json 2>err
    echo "exit $?"
    grep -v '^  *[0-9]' err | grep -o '^[0-9]* of [0-9]* training images\|pictures that are the same count once\|^lx.*'
    grep -o '"images": [0-9]*,\|"twins_left_out": [0-9]*' out.json | head -2
}
verify
for i in c d e f; do
    cp "img/3_iwl 1girl/a.png" "img/3_iwl 1girl/$i.png"
    echo "iwl, 1girl, $i" >"img/3_iwl 1girl/$i.txt"
done
cp "$LX_GOLDENS/e2e/data/reg/1_1girl/reg01.png" "img/3_iwl 1girl/f.png"
verify
