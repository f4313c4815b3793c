# Two runs that differ in one flag: what differs, the curves, the interval; JSON agrees, SVG is written.
curve() { # DECAY LEVEL
    awk -v decay="$1" -v level="$2" 'BEGIN {
        x = 12345
        for (i = 1; i <= 200; i++) {
            x = (x * 1103515245 + 12345) % 2147483648
            printf "step=%d loss=%.6f epoch=%d images=%d\n", i,
                   level + 0.1 * exp(-i / decay) + 0.02 * x / 2147483648, int((i - 1) / 50) + 1, 2 * i
        }
    }'
}
a=$("$LX" log --new first --flag network_dim=4 --flag learning_rate=1e-4 --flag output_name=x) || exit
b=$("$LX" log --new second --flag network_dim=8 --flag learning_rate=0.0001 --flag output_name=y) || exit
curve 30 0.05 | "$LX" log "$a" - && curve 30 0.06 | "$LX" log "$b" - || exit
"$LX" log "$a" --end finished && "$LX" log "$b" --end finished || exit
"$LX" compare first second --svg loss.svg | sed 's/^  \([ab]\)  [0-9a-f]\{10\}/  \1  ID        /; s/([0-9a-f]\{10\})/(ID)/g; s/20[0-9][0-9]-[0-9-]* [0-9:]*/DATE            /'
"$LX" compare first second --paired --json | grep -A1 '"is_paired"\|"difference"\|"flags"'
grep -c '<svg' loss.svg
"$LX" compare first
echo "exit $?"
"$LX" compare first second --window 2
echo "exit $?"
