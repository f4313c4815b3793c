# A run that went on from a state of other settings is not begun with its first step unasked.
. "$SOURCE/tests/support/tiny.sh"
"$LX" train $flags --seed 7 --max_train_steps 6 --learning_rate 1e-4 --stop_after_steps 3 --output_dir out --output_name a -q \
    >/dev/null 2>&1
"$LX" resume a -- --learning_rate 1e-3 -q >log 2>&1 || cat log
for name in $("$LX" runs --columns id --sort started | sed 1d); do
    "$LX" reproduce "$name" --check 2>&1 | sed 's/sha256 [0-9a-f]*/sha256 SUM/g; s/(0123.*//'
done
