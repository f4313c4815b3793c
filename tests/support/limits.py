"""limits.py LX - every limit of docs/formats.md that a file, a folder or a word can reach: taken at it, refused one beyond

For each a command meets something that is as large as the limit allows, and then something larger by one. The first may
not speak of the limit; the second must, with the number, end with the status that is said here, and do so before it takes
room for what it was given: it has MOST bytes of memory (or what the row says) and no more. Prints what was otherwise.
"""
import hashlib
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib

lx = sys.argv[1]
MOST = 80 << 20  # the stacks of threads are in it
rows = []
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def limit(name, says, make, status=65, most=MOST, at_status=None):
    """make(True) puts down what is at the limit and gives the words of the command (or a pair of them and its input),
    make(False) what is one beyond. at_status: what the command ends with at the limit (None: anything but a crash)."""
    rows.append((name, says, make, status, most, at_status))


def put(name, *parts, size=None):
    """A file of these parts, stretched to `size` bytes by a hole."""
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    with open(name, "wb") as f:
        for part in parts:
            f.write(part.encode() if isinstance(part, str) else part)
        if size is not None:
            f.truncate(size)
    return name


def padded(text, n, tail=""):
    """`text`, blanks and `tail`: n bytes in all."""
    return text + " " * (n - len(text) - len(tail)) + tail


# ---- model files

LAYER = "lora_unet_mid_block_attentions_0_proj_in."


def header(shapes):
    at, items = 0, {}
    for key, shape in shapes.items():
        n = 4
        for d in shape:
            n *= d
        items[key] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    return json.dumps(items), at


UP_DOWN = {LAYER + "lora_down.weight": [4, 8], LAYER + "lora_up.weight": [8, 4], LAYER + "alpha": []}


def long_header(is_at):
    n = 100000000 + (not is_at)
    text, size = header(UP_DOWN)
    blanks = padded(text, n) if is_at else text[:1]
    return ["inspect", put("h.safetensors", struct.pack("<Q", n), blanks, size=8 + n + size)]


def dims(is_at):
    text, size = header({**UP_DOWN, "more": [1] * (64 if is_at else 65)})
    return ["inspect", put("d.safetensors", struct.pack("<Q", len(text)), text, size=8 + len(text) + size)]


def long_shapes(is_at):
    shapes = {f"more{i}": [1] * 64 for i in range((4 << 20) // 64 + (not is_at))}
    text, size = header({**UP_DOWN, **shapes})
    return ["inspect", put("l.safetensors", struct.pack("<Q", len(text)), text, size=8 + len(text) + size)]


def zipped(name, members):
    with zipfile.ZipFile(name, "w") as z:
        for member, data in members:
            z.writestr(member, data)
    return name


def pickled(make_ops):
    def make(is_at):
        return ["inspect", zipped("p.pt", [("a/data.pkl", make_ops(is_at)), ("a/version", b"3\n")])]
    return make


MOST_VALUES = 1000000


def values(is_at):  # each K makes one; the dictionary at the end is one more
    return b"\x80\x02" + b"K\x010" * (MOST_VALUES - is_at) + b"}."


def stack(is_at):
    n = MOST_VALUES + (not is_at)
    return b"\x80\x02" + b"N" * n + b"0" * n + b"}."


def items(is_at):
    return b"\x80\x02]" + (b"(" + b"N" * 1000 + b"e") * 1000 + b"" + (b"" if is_at else b"Na") + b"0}."


def memo(is_at):
    return b"\x80\x02}r" + struct.pack("<I", MOST_VALUES - is_at) + b"."


def protocol(is_at):
    return b"\x80" + bytes([6 - is_at]) + b"}."


def ratio(is_at):
    """A member of 4 MiB that was packed to a 200th of it; padded with empty blocks, or one byte less."""
    size = 4 * MIB
    want = size // 200 - (not is_at)
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = pack.compress(b"\0" * size) + pack.flush(zlib.Z_FULL_FLUSH)  # no last block yet
    end = b"\x03\0"  # the last one, empty
    blanks, rest = divmod(want - len(body) - len(end), 5)
    body += b"\0\0\0\xff\xff" * (blanks - 1)
    stored = 5 + rest  # bytes of one block more with `rest` zeros in it
    body += b"\0" + struct.pack("<HH", rest, rest ^ 0xFFFF) + b"\0" * rest
    size += rest
    body += end
    assert len(body) == want and zlib.decompress(body, -15) == b"\0" * size and stored
    crc = zlib.crc32(b"\0" * size)
    out, directory = b"", b""
    for name, data, method, packed, full, sum_ in (
            (b"a/data.pkl", b"\x80\x02}.", 0, 4, 4, zlib.crc32(b"\x80\x02}.")), (b"a/data/0", body, 8, len(body), size, crc)):
        head = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0, sum_, packed, full, len(name), 0)
        directory += b"PK\1\2" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, len(out)) + name
        out += b"PK\3\4" + head + name + data
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 2, 2, len(directory), len(out), 0)
    return ["inspect", put("r.pt", out, directory, end)]


def peft_config(is_at):
    text, size = header({"base_model.model.x.lora_A.weight": [4, 8], "base_model.model.x.lora_B.weight": [8, 4]})
    put("peft/adapter_model.safetensors", struct.pack("<Q", len(text)), text, size=8 + len(text) + size)
    put("peft/adapter_config.json", padded('{"r": 4, "lora_alpha": 4', 4 * MIB + (not is_at), "}"))
    return ["inspect", "peft/adapter_model.safetensors"]


limit("safetensors: the header", "100000001 is over the limit of 100000000", long_header, at_status=0)
limit("safetensors: long shapes", "more than 8 dimensions have more than 4194304 numbers", long_shapes, at_status=0)
limit("safetensors: dimensions", "65 dimensions, more than 64", dims, at_status=0)
limit("pickle: values", "more than 1000000 values", pickled(values), most=300 * MIB)
limit("pickle: the stack", "stack deeper than 1000000", pickled(stack))
limit("pickle: a list", "list longer than 1000000", pickled(items))
limit("pickle: the memo", "memo slot 1000000, more than 999999", pickled(memo))
limit("pickle: the protocol", "protocol", pickled(protocol))
limit("torch zip: a member", "inflates more than 200 times", ratio)
limit("adapter_config.json", "larger than 4 MiB", peft_config, status=0, at_status=0)


# ---- pictures and captions

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=8, height=8, *chunks):
    """All black, of one bit a pixel."""
    rows = zlib.compressobj(9)
    line = b"\0" * (1 + (width + 7) // 8)
    data = b"".join(rows.compress(line) for _ in range(height)) + rows.flush()
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)) + b"".join(chunks)
            + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def checked(folder):
    return ["data", "check", folder, "--resolution", "64", "--caption_extension", ".txt"]


def picture(width, height):
    def make(is_at):
        put("img/1_a/a.png", png(*(width, height) if is_at else (width, height + 1)))
        put("img/1_a/a.txt", "iwl")
        return checked("img")
    return make


def late_size(is_at):
    """A JPEG whose frame ends with the first MiB, or a byte later."""
    frame = b"\xff\xc0\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0"
    room = MIB + (not is_at) - 2 - 10  # what is looked at of the frame: marker, length, precision, height, width, components
    out = b"\xff\xd8"
    while room:
        n = min(room, 65537)
        if 0 < room - n < 4:
            n -= 4
        out += b"\xff\xe2" + struct.pack(">H", n - 2) + b"\0" * (n - 4)
        room -= n
    put("img/1_a/a.jpg", out, frame, b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\0\xff\xd9")
    put("img/1_a/a.txt", "iwl")
    return checked("img")


def packed_text(is_at):
    text = b"parameters\0\0" + zlib.compress(b"a" * (MIB + (not is_at)))
    return ["inspect", put("z.png", png(8, 8, chunk(b"zTXt", text)))]


def plain_text(is_at):
    text = b"parameters\0" + b"a" * (16 * MIB + (not is_at))
    return ["inspect", put("t.png", png(8, 8, chunk(b"tEXt", text)))]


def caption(is_at):
    put("img/1_a/a.png", png())
    put("img/1_a/a.txt", "a" * (MIB + (not is_at)))
    return checked("img")


def metadata_file(is_at):
    put("img/a.png", png())
    text = '{"a.png": {"tags": "iwl"}'
    put("m.json", padded(text, 256 * MIB, "}") if is_at else text, size=None if is_at else 256 * MIB + 1)
    return ["data", "check", "--train_data_dir", "img", "--in_json", "m.json", "--resolution", "64"]


def json_depth(is_at):
    n = 62 + (not is_at)  # in two objects
    put("img/a.png", png())
    put("m.json", '{"a.png": {"tags": "iwl", "more": ' + "[" * n + "]" * n + "}}")
    return ["data", "check", "--train_data_dir", "img", "--in_json", "m.json", "--resolution", "64"]


limit("picture: a side", "16385 pixels; the limit is 16384 a side", picture(16, 16384), status=1, most=512 * MIB)
limit("picture: pixels", "10000 x 10001 pixels; the limit is 16384 a side and 100000000 in all", picture(10000, 10000),
      status=1, most=512 * MIB)
limit("picture: where its size stands", "not told in the first 1048576 bytes", late_size, status=1, most=512 * MIB)
limit("picture: a packed text", "inflates beyond 1 MiB", packed_text, status=0)
limit("picture: a text", "it has 16777217 bytes, the most is 16777216", plain_text, status=0)
limit("caption file", "1048577 bytes, more than the limit of 1048576", caption, status=1, most=512 * MIB)
limit("captions in one file", "268435457 bytes, more than the limit of 268435456", metadata_file, status=1)
limit("JSON: nesting", "nested deeper than 64", json_depth, status=1)


# ---- settings, prompts, queries

def config(is_at):
    return ["plan", "--config_file", put("c.toml", padded("seed = 1\n", MIB + (not is_at)))]


def settings(is_at):
    os.makedirs(".lx", exist_ok=True)
    put("home/.config/lx/config", padded("", MIB + (not is_at), "\n"))
    return ["config"]


def toml_depth(is_at):
    n = 64 + (not is_at)
    return ["plan", "--config_file", put("c.toml", "seed = " + "[" * n + "]" * n + "\n")]


def toml_integer(is_at):
    return ["plan", "--config_file", put("c.toml", f"seed = {(1 << 53) + (not is_at)}\n")]


def toml_number(is_at):
    return ["plan", "--config_file", put("c.toml", "learning_rate = 0." + "0" * (124 + (not is_at)) + "1\n")]


def recorded():
    subprocess.run([lx, "log", "--new", "noted", "--end", "finished", "loss=1"], check=True, stdout=subprocess.DEVNULL)


def note(is_at):
    recorded()
    return ["note", "noted", "-"], "a" * (MIB + (not is_at))


def prompt_file(is_at):
    put("p.txt", "1girl\n" if is_at else "", *[("#" * (MIB - 1) + "\n")] * 63 if is_at else [],
        *["#" * (MIB - 6)] if is_at else [], size=None if is_at else 64 * MIB + 1)
    return ["sample", "--base", put("base.safetensors", b"x"), "--from_file", "p.txt", "-o", "o"]


def query(is_at):
    recorded()
    return ["runs", "name = " + "a" * (64 * KIB + (not is_at) - 7)]


def brackets(is_at):
    n = 64 + (not is_at)
    recorded()
    return ["runs", "(" * n + "loss < 1" + ")" * n]


def point_line(is_at):
    return ["log", "--new", "line", "-"], padded("loss=1", MIB + (not is_at)) + "\n"


limit("--config_file", "1048577 bytes, more than the limit of 1048576", config)
limit("a settings file", "1048577 bytes, more than the limit of 1048576", settings, at_status=0)
limit("TOML: nesting", "nested deeper than 64", toml_depth)
limit("TOML: integers", "integer beyond 2^53", toml_integer)
limit("TOML: numbers", "number of more than 127 characters", toml_number)
limit("a note", "a note of more than 1048576 bytes", note, at_status=0)
limit("a file of prompts", "67108865 bytes, more than the limit of 67108864", prompt_file)
limit("a query", "a query of 65537 bytes; the most is 65536", query, at_status=0)
limit("a query: brackets", "nested deeper than 64", brackets, at_status=0)
limit("a line of points", "a line of more than 1048576 bytes", point_line, at_status=0)


# ---- histories

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def wandb_record(is_at):
    """A run, and one record more of 64 MiB in chunks of the log's blocks."""
    run = field(17, field(1, "abcdefgh") + field(3, "project"))
    room = 64 * MIB + (not is_at)
    big = field(16, b"")  # one that is passed over
    inner = room - len(varint(16 << 3 | 2)) - len(varint(room))
    big = field(99, b"\0" * (room - len(varint(99 << 3 | 2)) - len(varint(room))))
    assert len(big) == room and inner
    out = bytearray(b":W&B\xe1\xbe\0")

    def chunk_(kind, body):
        out.extend(struct.pack("<I", zlib.crc32(bytes([kind]) + body)) + struct.pack("<HB", len(body), kind) + body)

    chunk_(1, run)
    at = 0
    while at < len(big):
        left = 32768 - len(out) % 32768
        if left < 8:
            out.extend(b"\0" * left)
            continue
        n = min(left - 7, len(big) - at)
        chunk_(2 if at == 0 else 4 if at + n == len(big) else 3, big[at:at + n])
        at += n
    return ["import", put("w/run-abcdefgh.wandb", bytes(out)), "--dry-run"]


def mlflow(**what):
    run = "mlruns/1/" + "d" * 32
    shutil.rmtree("mlruns", ignore_errors=True)
    meta = ("run_id: " + "d" * 32 + "\nrun_uuid: " + "d" * 32 + "\nrun_name: r\nstart_time: 1700000000000\nend_time: 1700000001000\n"
            "status: 3\nlifecycle_stage: active\nexperiment_id: '1'\n")
    put("mlruns/1/meta.yaml", "experiment_id: '1'\nlifecycle_stage: active\nname: a\n")
    put(run + "/meta.yaml", meta, what.get("meta", ""))
    size = what.get("metric")
    put(run + "/metrics/loss", "1700000000000 0.5 1\n", size=size)
    put(run + "/params/p", "a" * what.get("param", 1))
    return ["import", "mlruns", "--dry-run"], meta


def mlflow_text(is_at):
    return mlflow(param=MIB + (not is_at))[0]


def mlflow_metric(is_at):
    return mlflow(metric=256 * MIB + (not is_at))[0]


def mlflow_meta(is_at):
    meta = mlflow()[1]
    return mlflow(meta="#" * (MIB + (not is_at) - len(meta)))[0]


def yaml_depth(is_at):
    n = 63 + (not is_at)
    return mlflow(meta="deep: " + "[" * n + "]" * n + "\n")[0]


limit("W&B: a record", "64 MiB", wandb_record, status=0, most=400 * MIB, at_status=0)
limit("MLflow: a text", "1048577 bytes, more than the limit of 1048576", mlflow_text, status=0, at_status=0)
limit("MLflow: a metric", "268435457 bytes, more than the limit of 268435456", mlflow_metric, status=0, at_status=0)
limit("MLflow: meta.yaml", "1048577 bytes, more than the limit of 1048576", mlflow_meta, at_status=0)
limit("YAML: nesting", "nested deeper than 64", yaml_depth, at_status=0)


# ---- bundles: ustar, and zstd frames made by hand (RFC 8878)

def member(name, size, octal=None):
    head = bytearray(512)
    head[0:len(name)] = name.encode()
    head[124:136] = octal or b"%011o\0" % size
    head[156:157] = b"0"
    head[257:265] = b"ustar\x0000"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def frame(size, *blocks):
    """One that says its content size; blocks: (kind, size, bytes), kind 0 plain and 1 one byte again and again."""
    out = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size)
    for i, (kind, n, data) in enumerate(blocks):
        out += struct.pack("<I", n << 3 | kind << 1 | (i == len(blocks) - 1))[:3] + data
    return out


def unpacked(is_at):
    n = 64 * GIB + (not is_at)
    return ["import", put("b.lxb", frame(n), size=n // 2000 + 1)]


def packed_ratio(is_at):
    plain = 4000
    n_blocks = 68
    size = 13 + 3 + plain + 4 * n_blocks  # of the file
    content = 2000 * size + (1999 if is_at else 2000)
    rest = content - plain
    blocks = [(0, plain, b"\0" * plain)]
    for i in range(n_blocks):
        n = min(rest - (n_blocks - i - 1), 128 * KIB)
        blocks.append((1, n, b"\0"))
        rest -= n
    assert rest == 0
    whole = frame(content, *blocks)
    assert len(whole) == size
    return ["import", put("b.lxb", whole)]


def manifest(is_at):
    n = GIB + (not is_at)
    return ["import", put("b.lxb", member("manifest/" + "0" * 64, n), size=512 + (n + 511) // 512 * 512 + 1024)]


def large_member(is_at):
    n = 8 * GIB - is_at
    octal = b"%011o\0" % n if is_at else b"%012o" % n
    text = json.dumps({"lx_bundle": 1, "objects": [["0" * 64, n]], "runs": []}).encode()
    parts = [member("manifest/" + hashlib.sha256(text).hexdigest(), len(text)), text, b"\0" * (-len(text) % 512),
             member("objects/" + "0" * 64, n, octal)]
    return ["import", put("b.lxb", *parts)]


def arriving(what, most, item):
    def make(is_at):
        run = {"id": "0123456789abcdef", "kind": "train", "started": 1, "texts": {}, "remarks": [], "artifacts": [], "curves": []}
        run[what] = [item(i) for i in range(most + (not is_at))]
        text = json.dumps({"lx_bundle": 1, "objects": [], "runs": [run]}).encode()
        return ["import", put("b.lxb", member("manifest/" + hashlib.sha256(text).hexdigest(), len(text)), text,
                              b"\0" * (-len(text) % 512 + 1024))]
    return make


limit("a run that arrives: remarks", "its remarks (100000 at most", arriving("remarks", 100000, lambda i: [i, "note", "", "n"]),
      at_status=0, most=300 * MIB)
limit("a run that arrives: artifacts", "its artifacts (100000 at most", arriving("artifacts", 100000, lambda i: {
    "role": "file", "name": "n", "sha256": f"{i:064x}", "size": 1, "step": i, "at": i, "is_kept": False}), at_status=0, most=300 * MIB)
limit("bundle: unpacked", "at most 64 GiB", unpacked, at_status=65)
limit("bundle: packed", "2000 times its packed size", packed_ratio, at_status=65)
limit("bundle: the manifest", "a manifest of 1073741825 bytes; the most is 1 GiB", manifest, at_status=65)
limit("bundle: a member", "a member has less than 8 GiB", large_member, at_status=65)


# ---- folders in folders

def nested(n, name):
    text, size = header(UP_DOWN)
    for path in ("f", "/".join(["f"] * n)):
        put(f"{path}/{name}", struct.pack("<Q", len(text)), text, size=8 + len(text) + size)
    return "f"


def inspect_depth(is_at):
    return ["inspect", nested(65 + (not is_at), "a.safetensors")]


def import_depth(is_at):
    return ["import", nested(32 + (not is_at), "a.safetensors"), "--dry-run"]


limit("folders: inspect", "more than 64 folders deep", inspect_depth, status=0, at_status=0)
limit("folders: import", "more than 32 folders deep", import_depth, status=0, at_status=0)


# ---- the state of a repository: left out beyond, and the record says so

def git(*words):
    who = ["-c", "user.name=x", "-c", "user.email=x@y"]
    return subprocess.run(["git", "-C", "repo", *who, *words], check=True, stdout=subprocess.PIPE).stdout


def repository():
    os.makedirs("repo")
    git("init", "-q")
    put("repo/a.py", "\n")
    git("add", ".")
    git("commit", "-q", "-m", "x")


def state():
    subprocess.run([lx, "run", "--name", "r", "--", "true"], cwd="repo", check=True, stderr=subprocess.DEVNULL)
    return ["show", "r", "--json"]


def difference(is_at):
    repository()
    put("repo/a.py", "#" * (4 * MIB) + "\n")
    more = len(git("diff", "HEAD")) - 4 * MIB
    put("repo/a.py", "#" * (4 * MIB - more + (not is_at)) + "\n")
    assert len(git("diff", "HEAD")) == 4 * MIB + (not is_at)
    return state()


def source(is_at):
    repository()
    put("repo/new.py", "#" * (256 * KIB + (not is_at)))
    return state()


def sources(is_at):
    repository()
    for i in range(200 + (not is_at)):
        put(f"repo/{i}.py", "x\n")
    return state()


if shutil.which("git"):
    limit("git: differences", '"diff_cut_at": 4194304', difference, status=0, at_status=0)
    limit("git: a source", '"untracked_left_out": 1', source, status=0, at_status=0)
    limit("git: sources", '"untracked_left_out": 1', sources, status=0, at_status=0)


# ---- each of them

def meet(words, most):
    """Status and all that was printed, with so many bytes of memory."""
    words, text = words if isinstance(words, tuple) else (words, "")
    done = subprocess.run([lx, *words], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (most, most)))
    return done.returncode, done.stdout.decode("utf-8", "replace")


def judge(row):
    name, says, make, status, most, at_status = row
    wrong = []
    for is_at in (True, False):
        os.mkdir("row")
        os.chdir("row")
        os.environ["HOME"] = os.getcwd() + "/home"
        os.environ["LX_STORE"] = os.getcwd() + "/store"
        os.environ["OMP_NUM_THREADS"] = "1"
        got, text = meet(make(is_at), resource.RLIM_INFINITY if is_at else most)
        os.chdir("..")
        shutil.rmtree("row")
        told = says in " ".join(text.split())
        last = text.strip()[-300:]
        if is_at and (told or got < 0 or got in (70, 74) or at_status not in (None, got)):
            wrong.append(f"{name}: at the limit: status {got}, {last!r}")
        if not is_at and (not told or got != status):
            wrong.append(f"{name}: beyond it: status {got}, wanted {status} and {says!r}: {last!r}")
        if "-v" in sys.argv:
            print(f"{name}, {'at' if is_at else 'beyond'}: {got}, {last[-160:]!r}", flush=True)
    return wrong


only = sys.argv[2] if len(sys.argv) > 2 and sys.argv[2] != "-v" else ""
n_wrong = 0
for row in rows:
    if only in row[0]:
        for line in judge(row):
            n_wrong += 1
            print(line)
print(f"{n_wrong} wrong")
print(f"{len(rows)} limits", file=sys.stderr)
sys.exit(n_wrong > 0)
