# What is no model is said by what it is, at its first byte, also where it could not be mapped; torch's tensors that lx
# has no type for are not called an attack, and a byte order is told by its member.
command -v python3 >/dev/null || { echo "skip: python3 is not here" >&2; exit 77; }
python3 - <<'END'
import zipfile
for name, magic in (("keras.ckpt", b"\x89HDF\r\n\x1a\n"), ("llama.safetensors", b"GGUF"), ("array.pt", b"\x93NUMPY\1\0"),
                    ("xz.ckpt", b"\xfd7zXZ\0"), ("picture.bin", b"\x89PNG\r\n\x1a\n")):
    with open(name, "wb") as f:
        f.write(magic + b"\1\2\3\0" * 200)
def torch(name, pickle, order=None):
    with zipfile.ZipFile(name, "w") as z:
        z.writestr("archive/data.pkl", pickle)
        if order is not None:
            z.writestr("archive/byteorder", order)
for cls in ("torch\nQInt8Storage", "torch\nComplexDoubleStorage", "torch._utils\n_rebuild_qtensor", "torch\nOddStorage"):
    torch(cls.split("\n")[1] + ".ckpt", b"\x80\2}X\1\0\0\0ac" + cls.encode() + b"\n0.")
for order in (b"little", b"big", b"middle\x1b[2J"):
    torch("order_" + order[:3].decode() + ".ckpt", b"\x80\2}.", order)
with open("huge.safetensors", "wb") as f:
    f.write(b"\1" * 600)
    f.truncate(100 << 30)
END
for file in *.ckpt *.pt *.bin llama.safetensors; do
    "$LX" inspect "$file" >/dev/null
    echo "$file: exit $?"
done
(ulimit -v 4000000 2>/dev/null; "$LX" inspect huge.safetensors)
echo "exit $?"
