# Names and captions that are hostile to terminals and to JSON.
. "$SOURCE/tests/support/faulty_set.sh"
command -v python3 >/dev/null || { echo "skip: no python3" >&2; exit 77; }
evil=$(printf 'evil/3_\033[31m\377 <b>"x')
mkdir -p "$evil"
cp "$pictures/rgb.png" "$evil/$(printf 'a\nb\033]0;x\007.png')"
printf '\033[2J\302\233m, <img src=x onerror=alert(1)>, =1+1\n' >"$evil/$(printf 'a\nb\033]0;x\007.txt')"
"$LX" data check evil --caption_extension .txt >text
echo $?
LC_ALL=C tr -d '\12\40-\176' <text | wc -c
"$LX" data check evil --caption_extension .txt --json >json
python3 - <<'EOF'
import json
evil = json.load(open("json"))
print(evil["errors"], [f["code"] for f in evil["findings"]], evil["images"][0]["phash"], evil["images"][0]["bucket"])
EOF
"$LX" data check img --json --resolution 128 --enable_bucket --min_bucket_reso 64 --max_bucket_reso 256 >json
echo $?
python3 - <<'EOF'
import json
d = json.load(open("json"))
order = ["error", "warning", "note"]
keys = [(order.index(f["severity"]), f["code"], f["file"] or "") for f in d["findings"]]
assert keys == sorted(keys)
assert d["errors"] == sum(f["severity"] == "error" for f in d["findings"])
assert all(f["text"] and f["remedy"] for f in d["findings"]), [f for f in d["findings"] if not f["remedy"]]
print(sorted({f["code"] for f in d["findings"] if f["fixable"]}))
for image in d["images"]:
    if image["file"].endswith(("wide.png", "rotated.jpg")):
        print(image["file"], image["size"], image["bucket"], image["resized"], image["cropped_pixels"], image["tokens"])
EOF
# Larger than is of use, and larger than is decoded at all.
python3 - <<'EOF'
import struct, zlib
def png(path, width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes((x * y * 7 >> 3) & 255 for x in range(width)) for y in range(height))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
                           chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
import os
os.makedirs("large/1_x")
png("large/1_x/huge.png", 9000, 700)
png("large/1_x/more.png", 17000, 2)
EOF
"$LX" data check large --resolution 128 | grep -A 2 -E '^(error: bad-image|note: huge)'
