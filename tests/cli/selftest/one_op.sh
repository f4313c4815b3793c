# Only the ops that are asked for, as lines and as JSON; an op's check has its error below the limit.
export OMP_NUM_THREADS=1
"$LX" selftest --quick --threads 1 silu group_norm >lines || { cat lines; exit 1; }
sed -n 2p lines
awk 'NR == 3 { print $1, $2, $3, $4, $5, $6, $7, $8; next } NR > 3 && NF > 5 && !($NF == "ok" && $4 != "") { print "not ok:", $0 }' lines
awk 'NR > 3 { print $1 }' lines | sort -u | grep -E 'silu|group_norm'
sed -n 's/^[0-9]* checks, all ok/all ok/p' lines
"$LX" selftest --quick --threads 1 --json silu >json || exit 1
grep -o '"failed": [0-9]*\|"check": "[a-z]*"\|"ok": [a-z]*\|"peak"' json | sort -u
