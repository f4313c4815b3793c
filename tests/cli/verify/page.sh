# A page that cannot be written is found out before anything is measured, and is none of the inputs.
. "$SOURCE/tests/support/tiny.sh"
# shellcheck disable=SC2086
"$LX" train $flags --max_train_steps 1 --output_dir out --output_name it >log 2>&1 || { cat log; exit 1; }
verify() {
    "$LX" verify out/it.safetensors --base tiny.safetensors --text_encoder_heads 4 --data img --threads 1 "$@"
    echo "exit $?"
}
verify --html missing/page.html
mkdir folder
verify --html folder
verify --html out/it.safetensors
verify --html tiny.safetensors
mkfifo pipe && verify --html pipe
"$LX" verify out/it.safetensors --html page.html -q >said
[ -s said ] && [ -s page.html ] && echo "written"
find . -name '.lx-*'
# The disk that is full only then: what was measured is told all the same.
(ulimit -f 6; GCOV_PREFIX=$PWD/counts "$LX" verify out/it.safetensors --html late.html >said 2>err)
echo "exit $?"
grep '^lx' err # and not what counts lines
tail -n 1 said
