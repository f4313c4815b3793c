"""hostile_run.py LX FOLDER [SECONDS] - every file of hostile.py through every command that reads such files

A command may refuse (65, 66, 73 ...) or take a file, within the time; it may not crash, run out of memory (70) or print
what a terminal obeys. Prints what went wrong, and how many calls there were of how many commands.
"""
import json
import os
import re
import subprocess
import sys

lx, root = sys.argv[1:3]
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 30
ALLOWED = {0, 1, 2, 65, 66, 69, 73, 74, 75, 77, 78}
# ESC and other controls but line feed and tab, C1, bidirectional controls, no width
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
calls = wrong = 0
commands = set()
env = dict(os.environ, LX_STORE=os.path.abspath("hostile_store"), OMP_NUM_THREADS="1")


def run(*words, is_json=False):
    global calls, wrong
    calls += 1
    commands.add(words[0])
    shown = " ".join(w if len(w) < 80 else w[:80] + "..." for w in words)
    try:
        done = subprocess.run([lx, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=seconds, env=env)
    except subprocess.TimeoutExpired:
        print(f"more than {seconds} s: lx {shown}")
        wrong += 1
        return ""
    out = done.stdout.decode("utf-8", "surrogateescape")
    text = out + done.stderr.decode("utf-8", "surrogateescape")
    raw = RAW.search(text)
    problem = None
    if done.returncode not in ALLOWED:
        problem = f"status {done.returncode}: {text[-300:]!r}"
    elif raw or re.search("[\udc80-\udcff]", text):
        at = raw.start() if raw else re.search("[\udc80-\udcff]", text).start()
        problem = f"prints {text[max(0, at - 40):at + 20]!r}"
    elif is_json and done.returncode == 0 and out.strip():
        try:
            json.loads(out)
        except ValueError as e:
            problem = f"no JSON: {e}"
    if problem:
        wrong += 1
        print(f"lx {shown}: {problem}")
    return out


def each(folder, *endings):
    for base, _, names in os.walk(os.path.join(root, folder)):
        for name in sorted(names):
            if name.endswith(endings) and os.path.isfile(os.path.join(base, name)):
                yield os.path.join(base, name)


def models():
    for path in [p for f in ("st", "lora", "ckpt", "peft") for p in each(f, ".safetensors", ".pt")]:
        run("inspect", path, "--weights", "--tree", "--hashes", "--tags", "5")
        run("inspect", path, "--each", "--json", "--weights", is_json=True)
        run("inspect", path, "--metadata")
        run("merge", path, path, "-o", "o.safetensors", "--no_record")
        run("resize", path, "--rank", "1", "-o", "o.safetensors", "--no_record")
        run("convert", path, "--to", "peft", "-o", "o", "--no_record")
        run("import", path)
    lora = os.path.join(root, "lora/plain_evil.safetensors")
    for path in list(each("lora", "evil.safetensors", "numbers.safetensors")) + list(each("ckpt", "deep_tuples.pt")):
        run("merge", path, "--into", path, "-o", "o.safetensors", "--no_record")
        run("extract", path, lora, "--rank", "1", "-o", "o.safetensors", "--no_record")
        run("share", path, "-o", "shared_" + os.path.basename(path))
    run("merge", lora, lora, "-o", "o.safetensors")
    run("inspect", root)
    run("inspect", root, "--json", is_json=True)
    run("inspect", root, "--csv")
    run("inspect", root, "--similar")
    run("inspect", root, "--html", "all.html")


def pictures():
    for path in each("img", "g", "p"):
        run("inspect", path)
        run("inspect", path, "--json", is_json=True)
    for folder in ("img", "captions"):
        run("data", "check", os.path.join(root, folder), "--resolution", "64")
        run("data", "check", os.path.join(root, folder), "--resolution", "64", "--json", is_json=True)
        run("data", "tags", os.path.join(root, folder))
        run("data", "sheet", os.path.join(root, folder), "-o", folder + ".html")
        run("plan", "--train_data_dir", root, "--resolution", "64", "--caption_extension", ".txt")


def settings():
    for path in each("toml", ".toml"):
        run("plan", "--config_file", path)
        run("plan", "--dataset_config", path, "--resolution", "64")
    for path in each("json", ".json"):
        run("plan", "--in_json", path, "--train_data_dir", os.path.join(root, "captions"), "--resolution", "64")
    for text in ("(" * 50000 + "a", "a~'" + "x" * 5000, "a=1 and " * 5000 + "b=1", "\x1b[31m=1", "not " * 20000 + "a=1"):
        run("runs", "--where", text)
        run("inspect", root, "--where", text)
    for text in ("accelerate launch '" + "x" * 5000, "a" * 100000, "$(touch owned) `touch owned` | x", "\x1b[31m"):
        run("plan", text)


def histories():
    for folder in ("tb", "wandb", "bundle", "logs"):
        for path in each(folder, ""):
            run("import", path)
            run("import", path, "--dry-run", "--json", is_json=True)
    for name in ("mlruns", "evil.db", "view.db", "cut.db"):
        run("import", os.path.join(root, name))
    run("import", root)


def the_store():
    out = run("runs", "--all", "--json", is_json=True)
    runs = json.loads(out) if out.strip() else []
    runs = runs["runs"] if isinstance(runs, dict) else runs
    run("runs", "--all")
    for row in runs[:40]:
        run("show", row["id"])
    for row in runs[:3]:
        run("show", row["id"], "--json", is_json=True)
        run("note", row["id"])
    if len(runs) > 1:
        run("compare", runs[0]["id"], runs[1]["id"])
        run("compare", runs[0]["id"], runs[1]["id"], "--json", is_json=True)
        run("report", runs[0]["id"], "-o", "report.html")
    for form in ("csv", "json", "tensorboard", "mlflow", "bundle"):
        run("export", "--all", "--format", form, "-o", "made_" + form)
    run("export", "--all", "--format", "csv", "-o", "-")
    run("sql", "select * from runs")
    run("sql", "select * from facts limit 500")
    run("fsck")


for part in (models, pictures, settings, histories, the_store):
    part()
if os.path.exists("owned"):
    print("something was run")
    wrong += 1
print(f"{wrong} wrong")
print(f"{calls} calls of {len(commands)} commands", file=sys.stderr)
sys.exit(wrong > 0)
