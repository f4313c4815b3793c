# A LoRA of sound but huge values: it is named, not the base model, and the exit status is one that the help lists.
. "$SOURCE/tests/support/tiny.sh"
cp "${picture%0.png}1.png" "img/3_iwl 1girl/b.png"
# shellcheck disable=SC2086
"$LX" train $flags --max_train_steps 1 --learning_rate 1e30 --output_dir out --output_name huge >log 2>&1 || { cat log; exit 1; }
verify() {
    "$LX" verify out/huge.safetensors --base tiny.safetensors --text_encoder_heads 4 --data img --threads 1 \
        --budget 200 --quiet "$@"
}
verify
echo "exit $?"
verify --strength 0 >said
echo "exit $?"
