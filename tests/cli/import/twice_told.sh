# A run record of W&B that is repeated has one note, the last; a start of MLflow's that is no time is none.
command -v python3 >/dev/null || { echo "skip: python3 is not here" >&2; exit 77; }
python3 - <<'END'
import os, struct, zlib
def record(body):
    return struct.pack("<IHB", zlib.crc32(b"\1" + body), len(body), 1) + body
def field(n, body):
    tag = n << 3 | 2
    return bytes([tag] if tag < 128 else [tag & 127 | 128, tag >> 7]) + bytes([len(body)]) + body
def run(note, *tags):
    more = b"".join(field(10, tag) for tag in tags)
    return record(field(17, field(1, b"abc") + field(6, b"w") + (field(9, note) if note else b"") + more))
os.mkdir("w")
with open("w/run-abc.wandb", "wb") as f:
    f.write(b":W&B" + struct.pack("<HB", 0xBEE1, 0) + run(b"") + run(b"a draft") + run(b"the note", b"t")
            + run(b"the note", b"t"))
for i, (start, end) in enumerate((("1700000000000", "null"), ("inf", "'1700000100000'"), ("nan", ".inf"),
                                  (".inf", ""), ("-1", "soon"), ("1e300", "0"))):
    folder = "mlruns/1/" + str(i) * 32
    os.makedirs(folder)
    with open(folder + "/meta.yaml", "w") as f:
        f.write(f"run_id: '{str(i) * 32}'\nrun_name: r{i}\nlifecycle_stage: active\nstatus: 3\nstart_time: {start}\n"
                f"end_time: {end}\n")
with open("mlruns/1/meta.yaml", "w") as f:
    f.write("experiment_id: 1\nlifecycle_stage: active\nname: e\n")
END
"$LX" import w | tail -n 1
"$LX" show abc --json | python3 -c 'import json, sys; r = json.load(sys.stdin); print(json.dumps(r.get("notes")), r.get("tags"))'
TZ=UTC "$LX" import mlruns 2>&1 | sed -E 's/^new       [0-9a-f]{10}/new       ID/'
"$LX" sql "select count(*) from runs where ended < started" --csv | tail -n 1
