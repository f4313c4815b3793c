# A setting whose name no query could ask for is left out of the columns, and nothing else is.
for dim in 4 8; do
    "$LX" log --new "run-$dim" --flag "dim=$dim" --flag "a b<c>=$dim" --end finished loss=0.1 >/dev/null || exit 1
done
"$LX" runs | awk '{ $1 = $2 = $3 = ""; print }' | tr -s ' '
