# Four runs: their settings against their losses as parallel coordinates, in the page and beside the Markdown.
for dim in 2 4 8 16; do
    id=$("$LX" log --new "dim$dim" --flag network_dim=$dim --flag seed=$dim --flag "lr_scheduler=<mark>$((dim % 3))") || exit
    awk -v dim=$dim 'BEGIN { for (i = 1; i <= 40; i++) print "step=" i, "loss=" 0.1 + 0.1 / i - dim / 1000 }' |
        "$LX" log "$id" - && "$LX" log "$id" --end finished || exit
done
"$LX" report dim2 dim4 dim8 dim16 -q -o a.html && "$LX" report dim2 dim4 dim8 dim16 -q -o a.md || exit
echo "$(grep -c 'class="lx-run' a.html) lines in the page, $(grep -c 'class="lx-run' a.files/settings.svg) in the drawing"
grep -o 'lx-run lx-r.*<title>[^<]*' a.html
grep -o '"name":"[^"]*"' a.html | grep -v '"name":"dim'
grep '](a.files/settings.svg)' a.md
grep -q '<mark>' a.html a.files/settings.svg && echo "a text of a run became markup"
"$LX" report dim2 dim4 -o two.html 2>/dev/null && grep -c 'data-parallel="' two.html
exit 0
