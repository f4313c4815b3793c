# The comparison as a page: curves by step and by images seen, epochs, parallel coordinates; hostile texts are inert,
# and whose machine it was is not in it.
bad='</td><script>alert(1)</script><img src=x>'
curve() { # DECAY BATCH
    awk -v decay="$1" -v batch="$2" 'BEGIN {
        x = 12345
        for (i = 1; i <= 120; i++) {
            x = (x * 1103515245 + 12345) % 2147483648
            printf "step=%d loss=%.6f epoch=%d images=%d\n", i,
                   0.1 + 0.1 * exp(-i / decay) + 0.02 * x / 2147483648, int((i - 1) / 40) + 1, batch * i
        }
    }'
}
make_run() { # NAME DECAY BATCH FLAG...
    name=$1 decay=$2 batch=$3
    shift 3
    id=$("$LX" log --new "$name" "$@") && curve "$decay" "$batch" | "$LX" log "$id" - && "$LX" log "$id" --end finished || exit
}
make_run "one$bad" 20 1 --flag train_batch_size=1 --flag learning_rate=1e-4 --flag "optimizer_type=$bad" --flag "output_dir=/home/wren/out"
make_run two 30 2 --flag train_batch_size=2 --flag learning_rate=1e-4 --flag optimizer_type=AdamW --flag output_dir=/home/wren/b
make_run three 40 2 --flag train_batch_size=2 --flag learning_rate=5e-5 --flag optimizer_type=AdamW --flag output_dir=/home/wren/c
"$LX" compare "one$bad" two three -o page.html || exit
grep -o '<h[1-3][^>]*>[^<]*' page.html
echo "lines across: $(grep -c 'class="lx-run' page.html); of curves: $(grep -o 'data-curves="[^"]*"' page.html | tr '\n' ' ')"
grep -o '<figcaption>[^<]*' page.html
grep -oE '[a-z]+ is lower than [a-z]+ at equal (steps|images seen)|cannot be told at equal [a-z ]*' page.html
grep -o 'Best epoch:[^<]*' page.html
grep -c 'num best' page.html
grep -qE '<script>alert|<img src=x' page.html && echo "a text of a run became markup"
grep -qE '(src|href)="?(https?:|//)' page.html && echo "the page fetches something"
grep -c wren page.html
grep -o '<li>.*</li>' page.html
"$LX" compare two three -o private.html --no-scrub -q && grep -c '/home/wren' private.html
"$LX" compare two three -o page.pdf
echo "exit $?"
