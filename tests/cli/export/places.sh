# An output that is no file is refused, and stays what it was.
run=$("$LX" log --new a --end finished loss=1) || exit 1
kind() { stat -c %F "$1"; }
mkfifo pipe
ln -s pipe link
ln -s /proc/self/fd/1 stdout
mkdir folder
for place in pipe link stdout folder; do
    "$LX" export a --format csv -o $place
    echo "$?"
    kind $place
done
"$LX" log --new b --end finished loss=1 >/dev/null
for place in '' - ./-; do
    "$LX" compare a b --svg "$place" >/dev/null
    echo "$?"
done
ls ./-
"$LX" export a --format csv -o file && kind file
