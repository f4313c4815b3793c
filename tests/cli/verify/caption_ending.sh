# An ending that no caption has is refused as by lx train and lx data tags, before anything is measured.
. "$SOURCE/tests/support/tiny.sh"
# shellcheck disable=SC2086
"$LX" train $flags --max_train_steps 1 --output_dir out --output_name it >log 2>&1 || { cat log; exit 1; }
verify() {
    "$LX" verify out/it.safetensors --base tiny.safetensors --text_encoder_heads 4 --data img --threads 1 "$@"
    echo "exit $?"
}
verify --caption_extension .nope
rm "img/3_iwl 1girl/a.txt"
verify --caption_extension nope
rm "img/3_iwl 1girl/b.txt"
verify --caption_extension .txt
