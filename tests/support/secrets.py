"""secrets.py LX TINY - plants secrets of many kinds by every way into a store, and looks for them afterwards

Works in the current folder with the store that LX_STORE names. TINY is a folder with tiny.safetensors and img/, or "".
Prints how many were planted and which were found where; exit status 1 if any was.
"""
import ctypes
import json
import os
import random
import sqlite3
import string
import struct
import subprocess
import sys
import zlib

lx, tiny = sys.argv[1:3]
rng = random.Random(9)
letters = string.ascii_letters + string.digits


def drawn(n, alphabet=letters):
    return "".join(rng.choice(alphabet) for _ in range(n - 1)) + rng.choice(string.digits)


def hexes(n):
    return "a" + drawn(n - 2, "0123456789abcdef") + "f"


# A text with a secret in it, and the secret.
SHAPES = [
    lambda s: "hf_" + s(34),
    lambda s: "got ghp_" + s(36) + " here",
    lambda s: "github_pat_" + s(40),
    lambda s: "glpat-" + s(20),
    lambda s: "sk-" + s(48),
    lambda s: "sk-ant-api03-" + s(60),
    lambda s: "AKIA" + s(16, string.ascii_uppercase + string.digits),
    lambda s: "AIza" + s(35),
    lambda s: "xoxb-" + s(40),
    lambda s: "npm_" + s(36),
    lambda s: "r8_" + s(37),
    lambda s: "eyJhbGciOiJIUzI1NiJ9.eyJ" + s(30) + "." + s(30),
    lambda s: "SG." + s(22) + "." + s(43),
    lambda s: "bot 123456789:" + s(35),
    lambda s: "wandb login " + s(40, "hex"),
    lambda s: "WANDB_API_KEY=" + s(40, "hex"),
    lambda s: "https://me:" + s(12) + "@example.com/x.git",
    lambda s: "--wandb_api_key " + s(12),
    lambda s: "--hf-token=" + s(12),
    lambda s: "password: " + s(10),
    lambda s: "DB_PASSWORD='" + s(10) + "'",
    lambda s: '{"client_secret": "' + s(14) + '"}',
    lambda s: "Authorization: Bearer " + s(18),
    lambda s: "authorization: basic " + s(18),
    lambda s: "Cookie: session=" + s(20),
    lambda s: "machine api.wandb.ai login user password " + s(40, "hex"),
    lambda s: "https://hooks.slack.com/services/T0/B0/" + s(24),
    lambda s: "https://example.com/x?access_token=" + s(16),
    lambda s: "AccountKey=" + s(40) + ";x=1",
    lambda s: "aws_secret_access_key = " + s(40),
    lambda s: "api_token: " + s(16),
    lambda s: "-----BEGIN PRIVATE KEY-----" + s(64) + "-----END PRIVATE KEY-----",
    lambda s: "\x1b[32mhf_" + s(34) + "\x1b[0m",
    lambda s: "-hf_" + s(34),
    lambda s: "a\nghp_" + s(36),
    lambda s: "--auth " + s(14),
    lambda s: "DB_PASS=" + s(12),
    lambda s: "curl -u me:" + s(12) + " https://example.com",
    lambda s: 'os.environ["HF_TOKEN"] = "' + s(20) + '"',
    lambda s: "API_KEY: str = '" + s(20) + "'",
    lambda s: 'SECRET_KEY = b"' + s(20) + '"',
    lambda s: 'password = SecretStr("' + s(12) + '")',
    lambda s: 'api_key = os.getenv("API_KEY", "' + s(20) + '")',
    lambda s: '"api_keys": ["' + s(12) + '", "' + s(12) + '"]',
    lambda s: 'ENV API_KEY ' + s(20),
    lambda s: '#define API_KEY "' + s(20) + '"',
    lambda s: '<add key="password" value="' + s(12) + '"/>',
    lambda s: '{"name": "DB_PASSWORD", "value": "' + s(12) + '"}',
    lambda s: "https://example.com/x?sig=" + s(20) + "&se=1",
    lambda s: "wandb.key=" + s(20),
    lambda s: '{"username": "me", "key": "' + s(32, "hex") + '"}',
    lambda s: "encryptionKey: " + s(12),
    lambda s: "API key: " + s(16),
    lambda s: "machine api.wandb.ai\n  login user\n  password " + s(12),
    lambda s: "passwords:\n  - " + s(12) + "\n  - " + s(12) + "\n",
    lambda s: "password: |\n  " + s(12) + "\n",
    lambda s: "GOCSPX-" + s(28),
    lambda s: "dp.pt." + s(40),
    lambda s: "glptt-" + s(40),
    lambda s: "tskey-auth-" + s(30),
    lambda s: "xoxe-" + s(40),
    lambda s: "lsv2_pt_" + s(32),
    lambda s: "https:\\/\\/me:" + s(12) + "@example.com",
    lambda s: "password=" + s(4) + "&" + s(8),
]
planted = {}


def plant(way, shape):
    mine = []

    def secret(n, alphabet=letters):
        mine.append(hexes(n) if alphabet == "hex" else drawn(n, alphabet))
        return mine[-1]

    text = SHAPES[shape % len(SHAPES)](secret)
    for core in mine:
        planted[core] = (way, text)
    return text


count = 0


def some(way, n):
    """n texts, the next shapes each time."""
    global count
    out = [plant(way, count + i) for i in range(n)]
    count += n
    return out


def run(*words, env=None, ok=True, **more):
    done = subprocess.run([lx, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, **more)
    if ok and done.returncode not in (0, 1):
        sys.exit(f"lx {' '.join(words)[:200]}: {done.returncode}\n{done.stderr.decode()}")
    outputs.append(("output of lx " + words[0], done.stdout + done.stderr))
    return done.stdout.decode()


outputs = []


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(number_, n):
    return varint(number_ << 3) + varint(n)


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


def event(*parts):
    body = struct.pack("<Bd", 9, 1700000000.0) + b"".join(parts)
    size = struct.pack("<Q", len(body))
    return size + masked(size) + body + masked(body)


def safetensors(path, metadata, tensors):
    header, at, data = {"__metadata__": metadata}, 0, b""
    for name, shape in tensors.items():
        n = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
        data += b"\x00\x3c" * (n // 2)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


LAYER = "lora_unet_mid_block_attentions_0_proj_in"
TENSORS = {f"{LAYER}.lora_down.weight": [2, 8], f"{LAYER}.lora_up.weight": [8, 2]}


def way_run():
    texts = some("console of lx run", 64)
    open("console.txt", "w").write("\n".join(texts) + "\n")
    run("run", "--name", "recorded", "--", "cat", "console.txt")
    words = [w for t in some("words of lx run", 12) for w in [t]]
    run("run", "--", "true", *words, "--license_key", drawn_as("words of lx run"), "-u",
        "me:" + drawn_as("words of lx run"), "--password", drawn_as("words of lx run"))
    env = dict(os.environ, LX_NOTE=plant("environment", 0), LX_MY_TOKEN=drawn_as("environment"),
               WANDB_API_KEY=drawn_as("environment"), OMP_PASSWORD=drawn_as("environment"),
               AWS_SECRET_ACCESS_KEY=drawn_as("environment"), LX_URL=plant("environment", 16))
    run("run", "--", "true", env=env)


def drawn_as(way):
    core = drawn(14)
    planted[core] = (way, core)
    return core


def way_log():
    flags = [x for i, t in enumerate(some("flags of lx log", 12)) for x in ("--flag", f"f{i}={t}")]
    flags += ["--flag", "api_key=" + drawn_as("flags of lx log")]
    name = run("log", "--new", some("name of a run", 1)[0], *flags).strip()
    for text in some("notes", 40):
        run("note", name, "--", text)
    for text in some("tags", 3):
        run("tag-run", name, "+t=" + text)
    run("log", name, "--step", "1", "loss=1", "hf_" + drawn_as("names of curves") + "abcdefgh=2")
    open("c.toml", "w").write("\n".join(f'# {t}\nk{i} = "x"' for i, t in enumerate(some("config file", 30))))
    run("log", name, "--file", "c.toml", "--role", "config", "--end", "failed", "--message",
        some("message of the end", 1)[0])


def way_import():
    os.makedirs("loras", exist_ok=True)
    for i, text in enumerate(some("metadata of LoRA files", 16)):
        safetensors(f"loras/{i}.safetensors", {
            "ss_session_id": str(100 + i), "ss_training_started_at": f"16750{i:05d}.5",
            "ss_training_finished_at": f"16751{i:05d}.5", "ss_output_name": "n", "ss_steps": "10",
            "ss_training_comment": text, "ss_network_args": json.dumps({"note": text}),
            "ss_wandb_api_key": drawn_as("metadata of LoRA files")}, TENSORS)
    run("import", "loras")
    texts = some("console log", 64)
    open("train.log", "w").write("running training / 学習開始\n  num train images * repeats / x: 4\n" + "\n".join(texts) +
                                 "\nsteps:  10%|#  | 1/10 [00:01<00:09, 1.0it/s, avr_loss=0.1]\n"
                                 "Namespace(wandb_api_key='" + drawn_as("console log") + "')\n")
    run("import", "train.log")
    mlruns()
    mlflow_db()
    events()
    wandb()


def mlruns():
    base = "mlruns/1/" + "b" * 32
    for folder in ("metrics", "params", "tags"):
        os.makedirs(f"{base}/{folder}", exist_ok=True)
    open("mlruns/1/meta.yaml", "w").write("artifact_location: x\nexperiment_id: '1'\nlifecycle_stage: active\nname: e\n")
    open(f"{base}/meta.yaml", "w").write(
        f"artifact_uri: x\nend_time: 1700000001000\nentry_point_name: ''\nexperiment_id: '1'\nlifecycle_stage: active\n"
        f"run_id: {'b' * 32}\nrun_name: n\nrun_uuid: {'b' * 32}\nstart_time: 1700000000000\nstatus: 3\nuser_id: u\n")
    open(f"{base}/metrics/loss", "w").write("1700000000000 0.5 1\n")
    for i, text in enumerate(some("MLflow's files", 10)):
        open(f"{base}/params/p{i}", "w").write(text)
    open(f"{base}/params/hf_token", "w").write(drawn_as("MLflow's files"))
    open(f"{base}/tags/mlflow.note.content", "w").write(some("MLflow's files", 1)[0])
    run("import", "mlruns")


def mlflow_db():
    db = sqlite3.connect("mlflow.db")
    db.executescript("""
      create table experiments(experiment_id integer, name text, lifecycle_stage text);
      create table runs(run_uuid text, name text, experiment_id integer, user_id text, status text, start_time integer,
        end_time integer, lifecycle_stage text);
      create table params(run_uuid text, key text, value text);
      create table tags(run_uuid text, key text, value text);
      create table metrics(run_uuid text, key text, value real, timestamp integer, step integer, is_nan integer);
      insert into experiments values(1, 'e', 'active');
      insert into runs values('cccc', 'n', 1, 'u', 'FINISHED', 1700000000000, 1700000001000, 'active');
      insert into metrics values('cccc', 'loss', 0.5, 1700000000000, 1, 0);""")
    for i, text in enumerate(some("MLflow's database", 10)):
        db.execute("insert into params values('cccc', ?, ?)", (f"p{i}", text))
    db.execute("insert into params values('cccc', 'password', ?)", (drawn_as("MLflow's database"),))
    db.execute("insert into tags values('cccc', 'mlflow.note.content', ?)", some("MLflow's database", 1))
    db.commit()
    db.close()
    run("import", "mlflow.db")


def events():
    os.makedirs("tb", exist_ok=True)
    data = event(field(3, "brain.Event:2"))
    scalar = field(1, field(1, "loss") + struct.pack("<Bf", 21, 0.5))
    data += event(number(2, 1), field(5, scalar))
    for i, text in enumerate(some("TensorBoard's texts", 10)):
        tensor = number(1, 7) + field(2, field(2, number(1, 1))) + field(8, text)
        value = field(1, f"config/{i}/text_summary") + field(9, field(1, field(1, "text"))) + field(8, tensor)
        data += event(number(2, 0), field(5, field(1, value)))
    open("tb/events.out.tfevents.1700000000.host", "wb").write(data)
    run("import", "tb")


def wandb():
    def chunk(kind, body):
        return struct.pack("<I", zlib.crc32(bytes([kind]) + body)) + struct.pack("<HB", len(body), kind) + body

    items = b"".join(field(4, field(1, field(1, f"c{i}") + field(16, json.dumps(text))))
                     for i, text in enumerate(some("W&B's config", 10)))
    items += field(4, field(1, field(1, "api_key") + field(16, json.dumps(drawn_as("W&B's config")))))
    body = field(1, "a1b2c3d4") + field(3, "loras") + items + field(8, "n") + field(9, some("W&B's note", 1)[0]) + \
        field(17, number(1, 1700000000))
    os.makedirs("wandb", exist_ok=True)
    open("wandb/run.wandb", "wb").write(b":W&B\xe1\xbe\0" + chunk(1, field(17, body)))
    run("import", "wandb/run.wandb")


def way_git():
    subprocess.run("git init -q repo && cd repo && git config user.name a && git config user.email a@b.c && "
                   "echo x >t.py && git add t.py && git commit -q -m x", shell=True, check=True)
    open("repo/t.py", "w").write("\n".join(some("git's differences", 40)))
    open("repo/hf_" + drawn_as("name of a source") + "abcdefghijk.py", "w").write("x = 1\n")
    open("repo/new.py", "w").write("\n".join(some("sources git does not know", 40)))
    subprocess.run(["git", "-C", "repo", "checkout", "-q", "-b", "b_hf_" + "x" * 3], check=True)
    subprocess.run(["git", "-C", "repo", "remote", "add", "origin", some("git's remote", 1)[0].split()[-1]], check=True)
    run("run", "--", "true", cwd="repo")


def way_merge():
    for i, text in enumerate(some("metadata of merged files", 2)):
        safetensors(f"m{i}.safetensors", {"ss_network_module": "networks.lora", "ss_training_comment": text}, TENSORS)
    run("merge", "m0.safetensors", "m1.safetensors", "-o", "merged.safetensors", "--name", some("name of a merge", 1)[0])
    run("resize", "merged.safetensors", "--rank", "2", "-o", "small.safetensors", "--name", some("name of a resize", 1)[0])


def way_train():
    if not tiny:
        return
    model = ["--text_encoder_heads", "4", "--threads", "1"]
    comment, key, prompt = some("training", 1)[0], drawn_as("training"), plant("prompts", 0)
    open("t.toml", "w").write(f'training_comment = {json.dumps(comment)}\nwandb_api_key = "{key}"\n')
    open("p.txt", "w").write(f"a girl {plant('prompts', 20)} --w 64 --h 64 --s 1\n")
    run("train", "--pretrained_model_name_or_path", f"{tiny}/tiny.safetensors", "--train_data_dir", f"{tiny}/img",
        "--resolution", "64", "--caption_extension", ".txt", "--cache_latents", "--max_train_steps", "1", "--network_dim",
        "2", "--output_dir", "out", "--output_name", "t", "--config_file", "t.toml", "--sample_prompts", "p.txt",
        "--sample_at_first", "--log_tracker_name", plant("training", 1).split()[1], *model)
    run("sample", "--base", f"{tiny}/tiny.safetensors", "--prompt", "girl, " + prompt, "--negative", plant("prompts", 4),
        "--steps", "1", "--width", "64", "--height", "64", "-o", "pictures", *model)


def way_remote():
    url = "https://me:" + drawn_as("URL of a remote") + "@127.0.0.1:1/x.git"
    run("push", url, ok=False)
    run("config", "set", "remote", "https://me:" + drawn_as("remote in settings") + "@127.0.0.1:1/y.git", ok=False)
    run("push", ok=False)
    run("pull", ok=False)
    run("pull", "https://me:" + drawn_as("URL of a remote") + "@127.0.0.1:1/x.git", ok=False)


def write_everything():
    for form in ("bundle", "tensorboard", "mlflow", "csv", "json"):
        run("export", "--all", "--format", form, "-o", "made/" + form, ok=False)
    run("show", "recorded", "--json", ok=False)
    run("report", "recorded", "-o", "made/report.html", ok=False)
    run("share", "merged.safetensors", "-o", "made/share", ok=False)


zstd = ctypes.CDLL("libzstd.so.1")
zstd.ZSTD_decompress.restype = ctypes.c_size_t


def unpacked(data):
    if data[:4] != b"\x28\xb5\x2f\xfd":
        return b""
    room = ctypes.create_string_buffer(64 << 20)
    n = zstd.ZSTD_decompress(room, ctypes.c_size_t(len(room)), data, ctypes.c_size_t(len(data)))
    return room.raw[:n] if n <= len(room) else b""


def everything():
    store = os.environ["LX_STORE"]
    for folder, _, names in list(os.walk(store)) + list(os.walk("made")):
        for name in names:
            data = open(os.path.join(folder, name), "rb").read()
            yield os.path.join(folder, name), data + unpacked(data)
    db = sqlite3.connect(f"file:{store}/store.db?mode=ro", uri=True)
    for (table,) in db.execute("select name from sqlite_schema where type='table'").fetchall():
        for row in db.execute(f'select * from "{table}"'):
            for value in row:
                if isinstance(value, bytes):
                    yield f"table {table}", value + unpacked(value)
                elif isinstance(value, str):
                    yield f"table {table}", value.encode()
    yield from (o for o in outputs if o[0] not in ("output of lx config", "output of lx run"))


os.makedirs("made", exist_ok=True)
for way in (way_run, way_log, way_import, way_git, way_merge, way_train, way_remote):
    way()
write_everything()
found = {}
total = 0
for where, data in everything():
    total += len(data)
    for core in planted:
        if core.encode() in data:
            found.setdefault(core, []).append(where)
for core, places in found.items():
    print("FOUND by", planted[core][0], repr(planted[core][1]), "in", sorted(set(places))[:4])
print(f"{'more than 200' if len(planted) > 200 else len(planted)} planted, {len(found)} found")
print(f"{len(planted)} secrets, {total} bytes looked at", file=sys.stderr)
sys.exit(bool(found))
