# The size that is planned is the size that is written, to the byte.
. "$SOURCE/tests/support/tiny.sh"
same() { # FLAG...
    planned=$("$LX" plan $flags --output_dir out --output_name a --max_train_steps 2 --json "$@" 2>/dev/null |
        sed -n 's/.*"file_bytes": *\([0-9]*\).*/\1/p')
    "$LX" train $flags --output_dir out --output_name a --max_train_steps 2 --quiet "$@" >log 2>&1 || cat log
    written=$(wc -c <out/a.safetensors)
    [ "$planned" -eq "$written" ] || echo "$*: planned $planned bytes, written $written"
    rm -r out
}
same --network_dim 2
same --network_dim 3 --save_precision fp16 --training_comment 'some "words"'
same --network_dim 4 --no_metadata
