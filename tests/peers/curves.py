"""The real train_network.py and `lx train` with the same base, data and flags over several seeds.

Equal must be what does not depend on chance: steps, epochs, buckets, tag frequencies, the keys of the metadata and
the values of those that the flags decide. Alike must be what does:

- the loss of the steps, as its mean in each of four windows of the run;
- the loss on fixed images, noise and timesteps after the training, by one and the same program.

The two samples of means (a run is one observation) are compared by the exact permutation test of the difference of
means, two-sided; the five p-values by Holm's rule at 5 per cent. That it can see a difference is shown by the same
tests with lx at a third of the rate, which must find one.

PEER_SEEDS, LX_SEEDS and STEPS change the counts (5, 10, 32). CURVES_DIR keeps the trainings, and takes those that are
there already.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import peers

TOKENIZER = os.path.join(os.environ.get("LX_GOLDENS", ""), "tokenizer")
if not os.path.isdir(os.path.join(TOKENIZER, "openai_clip-vit-large-patch14")):
    print("skipped: peers/curves: LX_GOLDENS has no tokenizer")
    sys.exit(77)
try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    print("skipped: peers/curves: no tensorboard")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
PEER_SEEDS = int(os.environ.get("PEER_SEEDS", "5"))
LX_SEEDS = int(os.environ.get("LX_SEEDS", "10"))
STEPS = int(os.environ.get("STEPS", "32"))
WINDOWS = 4
BASE = peers.tiny_base()
KEPT = os.environ.get("CURVES_DIR", peers.WORK)
DATA = os.path.join(KEPT, "img")
RATE = 3e-3

# Of the run, of the machine or of the program.
FREE = {
    "ss_session_id", "ss_training_started_at", "ss_training_finished_at", "ss_output_name", "ss_seed",
    "sshs_model_hash", "sshs_legacy_hash", "modelspec.date", "modelspec.hash_sha256", "modelspec.title",
    "ss_sd_scripts_commit_hash", "modelspec.implementation_version",
}


def flags(name, seed, rate):
    return [
        "--pretrained_model_name_or_path", BASE, "--tokenizer_cache_dir", TOKENIZER,
        "--train_data_dir", DATA, "--caption_extension", ".txt", "--resolution", "128",
        "--enable_bucket", "--min_bucket_reso", "64", "--max_bucket_reso", "256",
        "--network_module", "networks.lora", "--network_dim", "4", "--network_alpha", "4",
        "--learning_rate", f"{rate:g}", "--optimizer_type", "AdamW", "--lr_scheduler", "cosine",
        "--lr_warmup_steps", "3", "--shuffle_caption", "--keep_tokens", "1",
        "--mixed_precision", "no", "--cache_latents", "--max_data_loader_n_workers", "0",
        "--train_batch_size", "2", "--max_train_steps", str(STEPS), "--seed", str(seed),
        "--save_model_as", "safetensors", "--save_precision", "float",
        "--logging_dir", os.path.join(KEPT, "logs", name), "--log_with", "tensorboard",
        "--output_dir", os.path.join(KEPT, "out"), "--output_name", name]


def losses(name):
    """loss/current of every step, from the event file of the whole run."""
    for folder, _, files in os.walk(os.path.join(KEPT, "logs", name)):
        for file in files:
            if "tfevents" not in file:
                continue
            events = EventAccumulator(os.path.join(folder, file), size_guidance={"scalars": 0})
            events.Reload()
            if "loss/current" in events.Tags()["scalars"]:
                found = [event.value for event in events.Scalars("loss/current")]
                if len(found) == STEPS:
                    return found
    raise RuntimeError(f"{name}: no event file with loss/current of {STEPS} steps")


def trained(name):
    return os.path.join(KEPT, "out", f"{name}.safetensors")


def train_peer(seed):
    name = f"peer-{seed}"
    if os.path.exists(trained(name)):
        return name
    done = subprocess.run([sys.executable, "-W", "ignore",
                           os.path.join(HERE, "narrow", "train_network.py"),
                           *flags(name, seed, RATE)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return name


def train_lx(seed, rate=RATE, mark="lx"):
    name = f"{mark}-{seed}"
    if os.path.exists(trained(name)):
        return name
    peers.run_lx("train", *flags(name, seed, rate), "--text_encoder_heads", "4", "--threads", "1", "--quiet")
    return name


# ---- what does not depend on chance ---------------------------------------------------------


def metadata(name):
    with safe_open(trained(name), "pt") as opened:
        return opened.metadata()


def as_value(text):
    """JSON as a tree, so that the order of its keys does not count."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def check_facts(peer, ours):
    theirs = metadata(peer)
    mine = {key: value for key, value in metadata(ours).items() if not key.startswith("lx.")}
    peers.check("metadata: the same keys", set(theirs) == set(mine),
                f"{len(theirs)}; only the peer's {sorted(set(theirs) - set(mine))}, "
                f"only lx's {sorted(set(mine) - set(theirs))}")
    for key in ("ss_steps", "ss_num_epochs", "ss_num_batches_per_epoch", "ss_num_train_images",
                "ss_bucket_info", "ss_tag_frequency", "ss_dataset_dirs"):
        peers.check(f"metadata: {key}", as_value(theirs[key]) == as_value(mine[key]), theirs[key][:60])
    differ = {key: (theirs[key], mine[key]) for key in set(theirs) & set(mine) - FREE
              if as_value(theirs[key]) != as_value(mine[key])}
    peers.check("metadata: the same values", not differ, str(differ) if differ else
                f"of {len(set(theirs) & set(mine) - FREE)} keys")
    peers.check("event files: a loss for every step",
                len(losses(peer)) == len(losses(ours)) == STEPS, f"{len(losses(ours))}")
    shapes = [{k: tuple(v.shape) for k, v in load_file(trained(n)).items()} for n in (peer, ours)]
    peers.check("files: the same tensors", shapes[0] == shapes[1], f"{len(shapes[1])}")


# ---- what does ------------------------------------------------------------------------------


def fixed_inputs():
    """Every image at 128x128 under four draws of noise and timesteps, stratified."""
    from PIL import Image
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(os.path.join(TOKENIZER, "openai_clip-vit-large-patch14"))
    _, vae, _ = peers.sd_scripts_models(BASE, 4)
    latents, ids = [], []
    for folder, _, files in sorted(os.walk(DATA)):
        for file in sorted(files):
            if not file.endswith(".png"):
                continue
            image = Image.open(os.path.join(folder, file)).convert("RGB").resize((128, 128))
            x = torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
            latents.append(vae.encode(x[None]).latent_dist.mean[0])
            with open(os.path.join(folder, file[:-4] + ".txt"), encoding="utf-8") as text:
                ids.append(tokenizer(text.read().strip(), padding="max_length", max_length=77,
                                     truncation=True, return_tensors="pt").input_ids)
    n, draws = len(latents), 4
    rng = np.random.default_rng(5)
    timesteps = (np.arange(n * draws) + rng.random(n * draws)) / (n * draws) * 1000
    return {
        "in.latents": torch.stack(latents).repeat(draws, 1, 1, 1).contiguous(),
        "in.input_ids": torch.stack(ids).repeat(draws, 1, 1).contiguous(),
        "in.noise": torch.from_numpy(rng.standard_normal((n * draws, 4, 16, 16), dtype=np.float32)),
        "in.timesteps": torch.from_numpy(rng.permutation(timesteps.astype(np.int64))),
        "in.loss_weights": torch.ones(n * draws),
    }


def fixed_loss(at, lora):
    kept = lora + ".loss"
    if os.path.exists(kept):
        with open(kept, encoding="ascii") as file:
            return float(file.read())
    to = os.path.join(peers.WORK, "fixed_out.safetensors")
    peers.run_lx("debug", "eval", "step", "--base", BASE, "--lora", lora, "--inputs", at,
                 "--outputs", to, "--text_encoder_heads", "4")
    loss = float(load_file(to)["out.loss"])
    with open(kept, "w", encoding="ascii") as file:
        file.write(repr(loss))
    return loss


def permutation_p(a, b):
    """How often a split of all values into such groups has means as far apart: exact, two-sided."""
    pooled = np.array([*a, *b])
    seen = abs(np.mean(a) - np.mean(b)) * (1 - 1e-12)
    total = pooled.sum()
    count = extreme = 0
    for chosen in itertools.combinations(range(len(pooled)), len(a)):
        first = pooled[list(chosen)].sum()
        apart = abs(first / len(a) - (total - first) / len(b))
        extreme += apart >= seen
        count += 1
    return extreme / count


def observations(names, at):
    """By run: the mean loss of each window, and the fixed loss after it."""
    rows = []
    for name in names:
        windows = [float(np.mean(w)) for w in np.array_split(np.array(losses(name)), WINDOWS)]
        rows.append([*windows, fixed_loss(at, trained(name))])
    return np.array(rows)


WHAT = [*(f"steps {STEPS * i // WINDOWS + 1} to {STEPS * (i + 1) // WINDOWS}" for i in range(WINDOWS)),
        "fixed noise, after"]


def compare(theirs, ours, title):
    """Prints the table; the smallest p-value after Holm's rule."""
    p = [permutation_p(theirs[:, i], ours[:, i]) for i in range(theirs.shape[1])]
    order = np.argsort(p)
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    print(f"{title}: mean and deviation over {len(theirs)} and {len(ours)} seeds, p, p by Holm")
    for i, name in enumerate(WHAT):
        print(f"    {name:20} {theirs[:, i].mean():.4f} {theirs[:, i].std(ddof=1):.4f}   "
              f"{ours[:, i].mean():.4f} {ours[:, i].std(ddof=1):.4f}   {p[i]:.3f} {adjusted[i]:.3f}")
    sys.stdout.flush()
    return min(adjusted)


def main():
    if not os.path.isdir(DATA):
        shutil.copytree(os.path.join(peers.SOURCE, "tests/golden/e2e/data/train"), DATA)
    at = os.path.join(peers.WORK, "fixed.safetensors")
    save_file(fixed_inputs(), at)
    ours = [train_lx(seed) for seed in range(1, LX_SEEDS + 1)]
    slow = [train_lx(seed, RATE / 3, "slow") for seed in range(1, PEER_SEEDS + 1)]
    theirs = []
    for seed in range(1, PEER_SEEDS + 1):
        theirs.append(train_peer(seed))
        print(f"peer, seed {seed}: {np.mean(losses(theirs[-1])):.4f}", flush=True)
    check_facts(theirs[0], ours[0])

    begin = os.path.join(KEPT, "begin.safetensors")
    state = load_file(trained(ours[0]))
    save_file({k: torch.zeros_like(v) if k.endswith("lora_up.weight") else v
               for k, v in state.items()}, begin)
    before = fixed_loss(at, begin)
    wanted, got = observations(theirs, at), observations(ours, at)
    print(f"fixed noise, before: {before:.4f}")
    least = compare(wanted, got, "sd-scripts and lx")
    peers.check("losses of sd-scripts and lx are alike", least > 0.05, f"smallest p {least:.3f}")
    least = compare(wanted, observations(slow, at), "sd-scripts and lx at a third of the rate")
    peers.check("a third of the rate would be seen", least < 0.05, f"smallest p {least:.4f}")
    peers.finish()


if __name__ == "__main__":
    main()
