"""hostile.py FOLDER - files that were made to break what reads them, most under 10 kB

Every text in them has what a terminal would obey, or a reader be misled by: ESC, C1 controls, bidirectional overrides,
characters of no width. What each file is, its name says.
"""
import json
import os
import pickle
import random
import sqlite3
import struct
import sys
import zlib
import zipfile

root = sys.argv[1]
EVIL = "\x1b[31m\x1b]0;owned\x07\x9b5m\u202egpj.\u2066\u200b\ufeff\x07\r\x08<script>"
rng = random.Random(4)


def put(name, data):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)


def st(name, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    put(name + ".safetensors", struct.pack("<Q", len(text) if length is None else length) + text + data)


def tensors(shapes, metadata=None, dtype="F32", fill=b"\x00\x00\x80\x3f"):
    header, at = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for key, shape in shapes.items():
        n = 4
        for d in shape:
            n *= d
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
        at += n
    return header, fill * (at // 4)


LAYER = "lora_unet_mid_block_attentions_0_proj_in"


def lora(name, shapes, metadata=None, **more):
    header, data = tensors({f"{LAYER}.{k}": s for k, s in shapes.items()}, metadata, **more)
    st("lora/" + name, header, data)


def safetensors_files():
    st("st/length_0", b"")
    st("st/length_1", b"{")
    st("st/only_brace_then_data", b"{}", b"x" * 64)
    st("st/length_2_40", b"{}", length=1 << 40)
    st("st/deep_metadata", b'{"__metadata__":{"a":' + b"[" * 50000 + b"]" * 50000 + b"}}")
    st("st/deep_tensor", b'{"a":' + b'{"a":' * 50000 + b"1" + b"}" * 50001)
    st("st/many_metadata_keys", {"__metadata__": {f"k{i}{EVIL}": "v" for i in range(2000)}})
    st("st/dtype_f4", {"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"x")
    st("st/shape_2_63", {"a": {"dtype": "U8", "shape": [1 << 63, 2], "data_offsets": [0, 0]}})
    st("st/shape_overflows_to_8", {"a": {"dtype": "U8", "shape": [1 << 33, 1 << 33, 0], "data_offsets": [0, 8]}}, b"x" * 8)
    st("st/dims_10000", {"a": {"dtype": "U8", "shape": [1] * 10000, "data_offsets": [0, 1]}}, b"x")
    st("st/number_1e400", b'{"a":{"dtype":"U8","shape":[1e400],"data_offsets":[0,1]}}', b"x")
    st("st/lone_surrogate", b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x")
    st("st/evil_names", {f"a{EVIL}{i}": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(3)}, b"xyz")
    st("st/long_name", {"n" * 300000: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"x")
    st("st/many_tensors", {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(20000)})
    st("st/metadata_is_a_tensor", {"__metadata__": {"dtype": "U8", "shape": "[1]", "data_offsets": "[0,1]"}}, b"")


def lora_files():
    up_down = {"lora_down.weight": [4, 8], "lora_up.weight": [8, 4], "alpha": []}
    lora("plain_evil", up_down, {k: EVIL for k in (
        "ss_output_name", "ss_sd_model_name", "ss_network_module", "ss_training_comment", "ss_optimizer", "ss_steps",
        "ss_epoch", "ss_session_id", "ss_training_started_at", "ss_tag_frequency", "ss_dataset_dirs", "modelspec.title",
        "ss_network_dim", "ss_learning_rate", "lx.caption_extension", "lx.merge", EVIL)})
    lora("numbers", up_down, {
        "ss_network_dim": "1e999", "ss_network_alpha": "-1", "ss_steps": "99999999999999999999", "ss_epoch": "-5",
        "ss_learning_rate": "nan", "ss_training_started_at": "1e308", "ss_training_finished_at": "-1e308",
        "ss_session_id": "99999999999999999999999", "ss_num_train_images": "0x10", "ss_resolution": "(1e99, -4)",
        "ss_max_train_steps": "0", "ss_seed": "-9223372036854775809"})
    lora("tags_deep", up_down, {"ss_tag_frequency": "[" * 20000, "ss_dataset_dirs": "{\"a\":" * 20000})
    lora("tags_odd", up_down, {"ss_tag_frequency": json.dumps({EVIL: {EVIL: -1, "b": 1e300, "c": "x", "d": None}, "e": 1}),
                               "ss_dataset_dirs": json.dumps({EVIL: {"n_repeats": -1, "img_count": 1e300}, "b": []})})
    lora("tags_many", up_down, {"ss_tag_frequency": json.dumps({"1_a": {f"tag {i}": i for i in range(3000)}})})
    lora("rank_0", {"lora_down.weight": [0, 8], "lora_up.weight": [8, 0]})
    lora("five_dims", {"lora_down.weight": [4, 2, 2, 1, 2], "lora_up.weight": [8, 4, 1, 1, 1]})
    lora("down_alone", {"lora_down.weight": [4, 8]})
    lora("alpha_matrix", {"lora_down.weight": [4, 8], "lora_up.weight": [8, 4], "alpha": [2, 2]})
    lora("alpha_infinite", up_down, fill=b"\x00\x00\x80\x7f")
    lora("all_nan", up_down, fill=b"\x00\x00\xc0\x7f")
    lora("dora_scale_odd", dict(up_down, dora_scale=[3, 3, 3]))
    lora("lokr_empty", {"lokr_w1": [0, 0], "lokr_w2": [0, 4]})
    lora("lokr_huge_product", {"lokr_w1": [40000, 1], "lokr_w2": [1, 40000]})
    lora("loha_half", {"hada_w1_a": [4, 2], "hada_w1_b": [2, 4]})
    lora("tucker_odd", {"lora_down.weight": [4, 8, 1, 1], "lora_up.weight": [8, 4, 1, 1], "lora_mid.weight": [3, 5, 3, 3]})
    lora("oft_not_square", {"oft_blocks": [2, 3, 5]})
    lora("both_spellings", {"lora_down.weight": [4, 8], "lora_up.weight": [8, 4], "lora_A.weight": [4, 8], "lora_B.weight": [8, 4]})
    os.makedirs(f"{root}/peft")
    header, data = tensors({"base_model.model.x.lora_A.weight": [4, 8], "base_model.model.x.lora_B.weight": [8, 4]})
    st("peft/adapter_model", header, data)
    put("peft/adapter_config.json", '{"r": 1e400, "lora_alpha": "x", "rank_pattern": {"' + "(" * 5000 + '": 1}, "a":' + "[" * 9000)


class Call:
    def __reduce__(self):
        return (os.system, ("touch owned",))


def zip_file(name, members, **more):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with zipfile.ZipFile(path, "w", **more) as z:
        for member, data in members:
            z.writestr(member, data)


def checkpoint_files():
    pickles = {
        "calls": pickle.dumps(Call()),
        "deep_tuples": b"\x80\x02" + b"(" * 60000 + b"t" * 60000 + b".",
        "list_in_itself": b"\x80\x02]q\x00h\x00a.",
        "memo_4g": b"\x80\x02]r\xff\xff\xff\xff.",
        "long1": b"\x80\x02\x8a\xff" + b"\xff" * 255 + b".",
        "frame_past_end": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
        "unicode_2_63": b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f" + b"a.",
        "build_on_none": b"\x80\x02NN}b.",
        "evil_global": b"\x80\x02c" + EVIL.replace("\r", "").encode() + b"\nx\n.",
        "dict_of_lists": b"\x80\x02}(](]q\x01h\x01e]u.",
        "no_stop": b"\x80\x02N" * 100,
        "stack_many": b"\x80\x02" + b"N" * 200000 + b".",
    }
    for name, data in pickles.items():
        put(f"ckpt/{name}.pt", data)
        zip_file(f"ckpt/zip_{name}.pt", [("a/data.pkl", data), ("a/version", b"3\n")])
    zip_file("ckpt/many_members.pt", [(f"a/data/{i}", b"") for i in range(3000)] + [("a/data.pkl", b"\x80\x02}.")])
    zip_file("ckpt/bomb.pt", [("a/data.pkl", b"\x80\x02" + b"N" * (40 << 20))], compression=zipfile.ZIP_DEFLATED)
    zip_file("ckpt/evil_member.pt", [(f"a{EVIL}/data.pkl", b"\x80\x02}."), ("../../x", b"")])
    good = open(f"{root}/ckpt/zip_no_stop.pt", "rb").read()
    put("ckpt/two_ends.pt", good + good[-22:])
    put("ckpt/cut_directory.pt", good[:-40])
    for i in range(8):
        spoiled = bytearray(good)
        for _ in range(4):
            spoiled[rng.randrange(len(good))] = rng.randrange(256)
        put(f"ckpt/spoiled_{i}.pt", bytes(spoiled))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks, width=8, height=8):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress((b"\0" + b"\x80" * 3 * min(width, 8)) * min(height, 8))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def picture_files():
    text = f"a {EVIL}\nNegative prompt: {EVIL}\nSteps: 1e99, Sampler: {EVIL}, Seed: -1, Size: 0x0, Lora hashes: \"{EVIL}: zz, a: " + \
        "0" * 70 + "\", " + ", ".join(f"K{i}: v" for i in range(3000))
    put("img/evil_text.png", png(chunk(b"tEXt", b"parameters\0" + text.encode("latin1", "replace"))))
    put("img/evil_itxt.png", png(chunk(b"iTXt", b"parameters\0\0\0\0\0" + text.encode())))
    put("img/ztxt_bomb.png", png(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * (30 << 20)))))
    put("img/itxt_bomb.png", png(chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(b"a" * (30 << 20)))))
    put("img/text_without_nul.png", png(chunk(b"tEXt", b"parameters")))
    put("img/many_chunks.png", png(*[chunk(b"tEXt", b"k\0v")] * 20000))
    put("img/size_2_31.png", png(width=0x7FFFFFFF, height=0x7FFFFFFF))
    put("img/too_few_rows.png", png(width=4000, height=4000))
    put("img/quotes_open.png", png(chunk(b"tEXt", b"parameters\0x\nSteps: 1, a: \"" + b"\\\"" * 9000)))
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0" * 20
    put("img/exif_huge.jpg", b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + b"\xff\xd9")
    put("img/segment_0.jpg", b"\xff\xd8\xff\xe1\0\0\xff\xe1\0\1" + b"\xff" * 500)
    put("img/riff_wrong.webp", b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\x08" + b"\xff" * 9 + b"EXIF\xff\xff\xff\xff")
    put("img/bmp_negative.bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, -5, -(1 << 31), 1, 24, 0, 0, 0, 0, 0, 0))


def caption_files():
    for i, text in enumerate([
            "(" * 50000, "[" * 20000 + "a" + "]" * 20000, "(a:1e999), (b:-nan), [c:d:1e-400]", ", " * 50000, EVIL * 500,
            "{a|" * 9000, "a" * 1000000, "BREAK " * 5000, "\ufeff\ufeffa", "<lora:" + "x" * 5000 + ":9e99>"]):
        put(f"captions/c{i}.txt", text)
        put(f"captions/c{i}.png", png())
    put("captions/u16.txt", "\ufeffabc".encode("utf-16") + b"\0")
    put("captions/u16.png", png())
    put("captions/bytes.txt", bytes(range(256)))
    put("captions/bytes.png", png())


CRC = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    CRC.append(i)


def masked(data):
    c = 0xFFFFFFFF
    for b in data:
        c = c >> 8 ^ CRC[(c ^ b) & 255]
    c ^= 0xFFFFFFFF
    return struct.pack("<I", ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def record(body):
    size = struct.pack("<Q", len(body))
    return size + masked(size) + body + masked(body)


def event(*parts):
    return record(struct.pack("<Bd", 9, 1.7e9) + b"".join(parts))


def history_files():
    tag = field(1, EVIL + "loss")
    deep = b""
    for _ in range(300):
        deep = field(5, field(1, deep))
    size = struct.pack("<Q", 1 << 62)
    bodies = {
        "evil": event(b"\x10\x01", field(5, field(1, tag + struct.pack("<Bf", 21, 1)))),
        "step_negative": event(b"\x10" + b"\xff" * 9 + b"\x01", field(5, field(1, field(1, "loss") + b"\x15\0\0\xc0\x7f"))),
        "varint_long": event(b"\x10" + b"\xff" * 30),
        "deep": event(deep),
        "size_2_62": size + masked(size) + b"x" * 20,
        "cut": event(b"\x10\x01")[:-3],
        "time_nan": record(struct.pack("<Bd", 9, float("nan")) + b"\x10\x01"),
        "field_0": event(b"\x02\x05abcde"),
    }
    for name, data in bodies.items():
        put(f"tb/{name}/events.out.tfevents.17.h", event(field(3, "brain.Event:2")) + data)

    def block(kind, body, size=None):
        return struct.pack("<I", zlib.crc32(bytes([kind]) + body)) + struct.pack("<HB", len(body) if size is None else size, kind) + body

    start = b":W&B\xe1\xbe\0"
    item = field(4, field(1, field(1, EVIL) + field(16, "[" * 9000)))
    run = field(17, field(1, EVIL) + field(3, EVIL) + item + field(8, EVIL) + field(9, EVIL))
    put("wandb/evil/run-1.wandb", start + block(1, run))
    put("wandb/kind_9/run-1.wandb", start + block(9, run))
    put("wandb/too_long/run-1.wandb", start + block(1, run, 65535))
    put("wandb/never_ends/run-1.wandb", start + block(2, run) + block(3, b"x" * 100) * 50)
    put("wandb/history/run-1.wandb", start + block(1, run) + block(1, field(2, field(1, field(1, "_step") + field(16, "1e300")))))
    base = "mlruns/1/" + "d" * 32
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [" + ",".join(["*" + chr(97 + i)] * 9) + "]\n" for i in range(9))
    put("mlruns/1/meta.yaml", "experiment_id: '1'\nlifecycle_stage: active\nname: \"" + "x" * 9 + "\"\n")
    put(base + "/meta.yaml", laughs + "run_id: " + "d" * 32 + "\nrun_uuid: " + "d" * 32 + "\nstart_time: 1e999\nend_time: -1\n"
        "artifact_uri: file:///etc\nstatus: 99\nlifecycle_stage: active\nexperiment_id: '1'\nuser_id: u\nentry_point_name: ''\n")
    put(base + "/metrics/loss", "99999999999999999999 nan 99999999999999999999\n1\n\n1 2 3 4 5\n" + "x" * 100000 + "\n1 1e999 -1\n")
    put(base + "/params/" + "p" * 200, EVIL * 1000)
    os.makedirs(f"{root}/{base}/tags")
    os.symlink("/etc/passwd", f"{root}/{base}/tags/link")
    db = sqlite3.connect(f"{root}/evil.db")
    db.executescript("create table experiments(experiment_id, name, lifecycle_stage);"
                     "create table runs(run_uuid, name, experiment_id, user_id, status, start_time, end_time, lifecycle_stage);"
                     "create table params(run_uuid, key, value); create table tags(run_uuid, key, value);"
                     "create table metrics(run_uuid, key, value, timestamp, step, is_nan);")
    db.execute("insert into runs values(?,?,?,?,?,?,?,?)", (EVIL, EVIL, b"\0\xff", EVIL, EVIL, "x", 1e300, None))
    db.execute("insert into metrics values(?,?,?,?,?,?)", (EVIL, EVIL, EVIL, -1, 1 << 62, "x"))
    db.execute("insert into params values(?,?,?)", (EVIL, b"\xff\xfe", 1e300))
    db.commit()
    db.close()
    data = open(f"{root}/evil.db", "rb").read()
    put("view.db", data.replace(b"CREATE TABLE params", b"CREATE TABLE paramz"))
    put("cut.db", data[:len(data) // 2])
    put("logs/long_line.log", "x" * 3000000)
    put("logs/evil.log", f"running training / \u5b66\u7fd2\u958b\u59cb {EVIL}\n  num train images * repeats / {EVIL}: 99999999999999999999\n"
        + "".join(f"steps:  10%|#| {10 ** i}/{10 ** 30} [{EVIL}00:00<99:99:99, 1e99it/s, avr_loss=1e999]\r" for i in range(30)))
    put("logs/nul.log", b"steps: 1/2 [0" + b"\0" * 5000 + b"]\n")
    put("logs/u16.log", "steps:  10%|#| 1/10 [00:01<00:09, loss=0.1]\n".encode("utf-16")[:-1])


def settings_files():
    put("toml/deep.toml", "a = " + "[" * 50000)
    put("toml/dotted.toml", ".".join(["a"] * 20000) + " = 1\n")
    put("toml/evil.toml", f'"{EVIL.encode("unicode_escape").decode().replace(chr(92) + "x", chr(92) + "u00")}" = 1\n')
    put("toml/many.toml", "".join(f"k{i} = 1\n" for i in range(20000)))
    put("toml/numbers.toml", "learning_rate = 1e999\nmax_train_steps = 99999999999999999999\nseed = -1\nresolution = \"0,0\"\n")
    put("toml/tables.toml", "[[datasets]]\n" * 5000)
    put("toml/nul.toml", b"a = \"\0\"\n")
    put("json/deep.json", "[" * 100000)
    put("json/many.json", json.dumps({f"img{i}": {"caption": EVIL, "tags": EVIL * 3} for i in range(300)}))


def bundle_files():
    def member(name, data, size=None, kind=b"0", checksum=None):
        head = bytearray(512)
        head[0:len(name)] = name
        head[100:108] = b"0000644\0"
        head[124:136] = (b"%011o\0" % len(data)) if size is None else size
        head[156:157] = kind
        head[257:265] = b"ustar\x0000"
        head[148:156] = b" " * 8
        head[148:156] = checksum or b"%06o\0 " % sum(head)
        return bytes(head) + data + b"\0" * (-len(data) % 512)

    import hashlib

    def manifest(data):
        data = data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":"), sort_keys=True).encode()
        return member(b"manifest/" + hashlib.sha256(data).hexdigest().encode(), data)

    run = {"id": EVIL, "kind": EVIL, "name": EVIL, "origin": None, "parent": EVIL, "started": 1e300, "seed": EVIL, "texts": {},
           "remarks": [[1e300, EVIL, EVIL, EVIL]], "artifacts": [], "curves": []}
    base = {"lx_bundle": 1, "made_by": EVIL, "is_scrubbed": True, "scrubbed": [EVIL], "objects": [], "runs": [run]}
    end = b"\0" * 1024
    put("bundle/evil.lxb", manifest(base) + end)
    put("bundle/id_evil_hex.lxb", manifest(dict(base, runs=[dict(run, id="0123456789abcdef")])) + end)
    put("bundle/deep.lxb", manifest(b"[" * 60000) + end)
    put("bundle/size_2_62.lxb", manifest(dict(base, objects=[["0" * 64, 1 << 62]])) + end)
    put("bundle/object_up.lxb", manifest(dict(base, objects=[["../../../x", 1]])) + end)
    put("bundle/base256.lxb", member(b"manifest/" + b"0" * 64, b"{}", b"\xff" * 12) + end)
    put("bundle/sum_wrong.lxb", member(b"manifest/" + b"0" * 64, b"{}", checksum=b"000000\0 ") + end)
    put("bundle/frame_huge.lxb", b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8 + b"\x01\0\0")
    put("bundle/skippable.lxb", b"\x50\x2a\x4d\x18\xff\xff\xff\x7f" * 40)


for part in (safetensors_files, lora_files, checkpoint_files, picture_files, caption_files, history_files, settings_files,
             bundle_files):
    part()
for at in range(2):
    os.symlink(".", f"{root}/st/circle{at}")
os.mkfifo(f"{root}/st/pipe.safetensors")
