"$LX" report
"$LX" report x
"$LX" report x -o x.txt
"$LX" report x -o x.pdf
"$LX" report x --inline -o x.html
"$LX" report x --inline --format json
"$LX" report x -o nowhere/x.md
"$LX" report x -o x.html
