"$LX" export
"$LX" export a --all -o x.lxb
"$LX" export a --format zip
"$LX" export a -o x.lxb
