# The small checks pass on this machine's CPU; one line a check, one JSON object when that is asked for.
export OMP_NUM_THREADS=1
"$LX" selftest --quick --threads 1 >all || { cat all; exit 1; }
awk 'NR > 3 && ($0 !~ / ok$/ || /^[0-9]/) && NF' all | sed 's/^[0-9]* checks/N checks/'
"$LX" selftest --quick --json silu training >one.json || exit 1
python3 - <<'PY'
import json
found = json.load(open("one.json"))
names = [r["check"] for r in found["results"]]
print(found["device"], found["checks"] == len(names), found["failed"], sorted(set(names)))
print(sorted(found["results"][0]))
PY
"$LX" selftest --quick silu geglu | awk 'NR > 3 && $1 ~ /silu|geglu/ { print $1, $2, $3, $NF }'
ls "${TMPDIR:-/tmp}"/lx-selftest-$$* 2>/dev/null
exit 0
