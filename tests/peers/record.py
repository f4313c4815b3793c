"""`lx run` around the real train_network.py: flags, curve, captions, output and metadata."""

import json
import os
import shutil
import subprocess
import sys

import peers

TOKENIZER = os.path.join(os.environ.get("LX_GOLDENS", ""), "tokenizer")
if not os.path.isdir(os.path.join(TOKENIZER, "openai_clip-vit-large-patch14")):
    print("skipped: peers/record: LX_GOLDENS has no tokenizer")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = peers.tiny_base()
DATA = os.path.join(peers.WORK, "img")
shutil.copytree(os.path.join(peers.SOURCE, "tests/golden/e2e/data/train"), DATA)
try:
    import tensorboard  # noqa: F401  (sd-scripts writes event files with it, and none without)
    HAS_TENSORBOARD = True
except ImportError:
    HAS_TENSORBOARD = False


def train(name, *flags, before=()):
    """The real trainer, recorded: what lx and it printed."""
    out = os.path.join(peers.WORK, "out")
    command = [
        peers.LX, "run", "--name", name, *before, "--",
        sys.executable, "-W", "ignore", os.path.join(HERE, "narrow", "train_network.py"),
        "--pretrained_model_name_or_path", BASE, "--tokenizer_cache_dir", TOKENIZER,
        "--train_data_dir", DATA, "--resolution", "128", "--enable_bucket",
        "--min_bucket_reso", "64", "--max_bucket_reso", "256",
        "--network_module", "networks.lora", "--network_dim", "4", "--network_alpha", "2",
        "--learning_rate", "1e-3", "--optimizer_type", "AdamW", "--seed", "42",
        "--mixed_precision", "no", "--cache_latents", "--max_data_loader_n_workers", "0",
        "--max_train_epochs", "2", "--save_every_n_epochs", "1", "--train_batch_size", "2",
        "--output_dir", out, "--output_name", name, *flags]
    return subprocess.run(command, capture_output=True, text=True)


def sql(query):
    return json.loads(peers.run_lx("sql", "--json", query))


def run_of(name):
    return sql(f"SELECT * FROM runs WHERE name = '{name}'")[0]


def facts_of(run):
    return {row["key"]: row["value"]
            for row in sql(f"SELECT key, value FROM facts WHERE run = '{run['id']}'")}


def curve(run, key):
    rows = sql(f"SELECT n, last_step, last_value FROM curves WHERE run = '{run['id']}' "
               f"AND key = '{key}'")
    return rows[0] if rows else None


def check_trained(name, done, verdict):
    peers.check(f"{name}: the trainer's status", done.returncode == 0, done.stderr[-500:]
                if done.returncode else "")
    if done.returncode:
        return
    run, trained = run_of(name), os.path.join(peers.WORK, "out", f"{name}.safetensors")
    facts = facts_of(run)
    flags = {row["key"]: row["value"]
             for row in sql(f"SELECT key, value FROM flags WHERE run = '{run['id']}'")}
    steps = int(facts["total_steps"])
    peers.check(f"{name}: finished", run["status"] == "finished" and run["last_step"] == steps,
                f"{run['status']}, step {run['last_step']} of {steps}")
    peers.check(f"{name}: flags", flags["network_dim"] == 4 and flags["learning_rate"] == 1e-3
                and flags["optimizer_type"] == "AdamW" and flags["train_batch_size"] == 2)
    loss = curve(run, "loss/average")
    peers.check(f"{name}: the loss at every step", loss and loss["n"] == steps
                and loss["last_step"] == steps, str(loss))
    peers.check(f"{name}: captions", facts["captions.verdict"] == verdict, facts["captions.verdict"])
    loras = sql(f"SELECT name, step FROM artifacts WHERE run = '{run['id']}' AND role = 'lora' "
                "ORDER BY name")
    peers.check(f"{name}: the LoRA of each epoch",
                [row["name"] for row in loras] == [f"{name}-000001.safetensors",
                                                   f"{name}.safetensors"]
                and loras[1]["step"] == steps, str(loras))
    shown = peers.run_lx("show", trained)
    peers.check(f"{name}: found by its file", run["id"] in shown)
    again = peers.run_lx("import", os.path.join(peers.WORK, "out"))
    peers.check(f"{name}: its files are no new history", "0 runs imported" in again,
                again.strip().splitlines()[-1])


def main():
    done = train("untagged")
    peers.check("untagged: the trap is told before the start",
                ".txt) beside the images would not be read" in done.stderr.split("steps:")[0])
    check_trained("untagged", done, "not read (folder words only)")
    logs = ("--logging_dir", os.path.join(peers.WORK, "logs")) if HAS_TENSORBOARD else ()
    check_trained("tagged", train("tagged", "--caption_extension", ".txt", *logs), "read")
    if HAS_TENSORBOARD:
        run = run_of("tagged")
        rate = curve(run, "lr/unet")
        peers.check("tagged: curves of the event files", rate and abs(rate["last_value"] - 1e-3) < 1e-9
                    and curve(run, "loss/current"), str(rate))
        peers.check("tagged: the bar's loss beside them", curve(run, "loss/bar") is not None)
    else:
        print("skipped: event files: no tensorboard")
    again = subprocess.run([peers.LX, "reproduce", "tagged", "--json"], capture_output=True, text=True,
                           cwd=peers.WORK)
    told = json.loads(again.stdout) if again.stdout else {}
    peers.check("tagged: run again, the same comes out", again.returncode == 0
                and told.get("outcome") in ("identical", "rounding")
                and {i["state"] for i in told["inputs"]} == {"the same"},
                f"{told.get('outcome')}: {told.get('text')}" if told else again.stderr[-500:])
    refused = train("strict", before=("--strict",))
    peers.check("--strict does not start", refused.returncode == 1
                and not sql("SELECT id FROM runs WHERE name = 'strict'"))
    broken = train("broken", "--no_such_flag")
    run = run_of("broken")
    peers.check("a flag that the trainer refuses", broken.returncode == 2
                and run["status"] == "failed" and "no_such_flag" in run["message"], run["message"])
    peers.run_lx("fsck")
    peers.finish()


main()
