# A path that is named and gives nothing but problems ends with 65, once the others are imported; each problem has its
# place. In a folder with runs a problem is a problem among others.
command -v python3 >/dev/null || { echo "skip: python3 is not here" >&2; exit 77; }
python3 - <<'END'
import os, struct, zlib
table = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ 0x82F63B78 if i & 1 else i >> 1
    table.append(i)
def masked(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
def record(body):
    head = struct.pack("<Q", len(body))
    return head + masked(head) + body + masked(body)
def field(n, body):
    tag = n << 3 | 2
    return bytes([tag] if tag < 128 else [tag & 127 | 128, tag >> 7]) + bytes([len(body)]) + body
def event(tag, step):
    return record(b"\x09" + struct.pack("<d", 1700000000 + step) + bytes([16, step])
                  + field(5, field(1, field(1, tag) + b"\x15" + struct.pack("<f", 0.5))))
first = record(b"\x09" + struct.pack("<d", 1700000000) + field(3, b"brain.Event:2"))
def events(folder, *records):
    os.makedirs(folder)
    with open(folder + "/events.out.tfevents.1700000000.h", "wb") as f:
        f.write(first + b"".join(records))
spoiled = bytearray(event(b"loss", 1))
spoiled[20] ^= 1
events("good", event(b"loss", 1))
events("crc", spoiled)
events("tags", event(b"loss", 1), event(b"\x1b[2J", 2), event(b"\xff", 3))
events("only", event(b"\x1b[2J", 2))
events("mixed/a", event(b"loss", 2))
events("mixed/b", bytes(spoiled))
def wandb(name, *chunks):
    with open(name, "wb") as f:
        f.write(b":W&B" + struct.pack("<HB", 0xBEE1, 0) + b"".join(chunks))
def chunk(body):
    return struct.pack("<IHB", zlib.crc32(b"\1" + body), len(body), 1) + body
run = chunk(field(17, field(1, b"abc") + field(6, b"w")))
wandb("cut.wandb", run[:-3])
wandb("spoiled.wandb", run, run[:-1] + b"?")
wandb("no_run.wandb", run[:-1] + b"?")
END
mkfifo pipe.safetensors
mkdir -p mlruns/1
echo '!!python/object/apply:os.system ["x"]' >mlruns/1/meta.yaml
try() {
    "$LX" import "$@" >out 2>&1
    echo "$*: exit $?"
    grep '^problem\|imported' out
}
for path in crc only cut.wandb no_run.wandb pipe.safetensors mlruns; do
    try "$path"
done
try tags
try mixed
try spoiled.wandb
try crc good cut.wandb
"$LX" import --json crc good >out
echo "exit $?"
grep -c '"state"' out
