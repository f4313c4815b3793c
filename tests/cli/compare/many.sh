# Five runs: flags against results, with the rank correlation and its interval.
for dim in 2 4 8 16 32; do
    id=$("$LX" log --new "dim$dim" --flag network_dim=$dim --flag seed=$dim) || exit
    awk -v dim=$dim 'BEGIN { for (i = 1; i <= 40; i++) print "step=" i, "loss=" 0.1 + 0.1 / i - dim / 1000 }' |
        "$LX" log "$id" - && "$LX" log "$id" --end finished || exit
done
"$LX" compare dim2 dim4 dim8 dim16 dim32 | sed -n '/^results/,$p' | sed 's/ [0-9.]*s$/ TIME/'
