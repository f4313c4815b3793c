"$LX" export
"$LX" export a --all -o x.lxb
"$LX" export a --format zip
"$LX" export a -o x.lxb
"$LX" export a -o -
"$LX" export a --format mlflow -o -
"$LX" log --new a --end finished loss=1 >/dev/null
"$LX" export a --format csv -o - | sed '1!s/^[0-9a-f]*/ID/'
"$LX" report a --format md -o - | head -n 1
ls
