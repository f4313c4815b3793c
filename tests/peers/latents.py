"""Cached latents (.npz): what the real train_network.py writes is read, what lx writes it trains on."""

import os
import shutil
import subprocess
import sys

import numpy as np
import torch
from PIL import Image

import peers

TOKENIZER = os.path.join(os.environ.get("LX_GOLDENS", ""), "tokenizer")
if not os.path.isdir(os.path.join(TOKENIZER, "openai_clip-vit-large-patch14")):
    print("skipped: peers/latents: LX_GOLDENS has no tokenizer")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = peers.tiny_base()
PICTURES = os.path.join(peers.SOURCE, "tests/golden/e2e/data/train")
SHARED = ["--pretrained_model_name_or_path", BASE, "--resolution", "128", "--enable_bucket",
          "--min_bucket_reso", "64", "--max_bucket_reso", "256", "--caption_extension", ".txt",
          "--network_module", "networks.lora", "--network_dim", "4", "--learning_rate", "1e-3",
          "--seed", "42", "--flip_aug", "--max_train_steps", "2"]


def folder(name):
    path = os.path.join(peers.WORK, name)
    shutil.copytree(PICTURES, path)
    return path


def add_transparent(data):
    """A picture whose left half is not there."""
    pixels = np.full((128, 160, 4), 200, dtype=np.uint8)
    pixels[:, :, 1] = np.arange(160, dtype=np.uint8)
    pixels[:, 0:80, 3] = 0
    pixels[:, 80:, 3] = 255
    at = os.path.join(data, sorted(os.listdir(data))[0], "glass.png")
    Image.fromarray(pixels).save(at)
    with open(at[:-3] + "txt", "w") as f:
        f.write("iwl, glass")


def archives(data):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(data) for name in names
                  if name.endswith(".npz"))


def peer_train(data, *flags):
    return subprocess.run(
        [sys.executable, "-W", "ignore", os.path.join(HERE, "narrow", "train_network.py"),
         *SHARED, "--train_data_dir", data, "--tokenizer_cache_dir", TOKENIZER,
         "--optimizer_type", "AdamW", "--mixed_precision", "no", "--max_data_loader_n_workers", "0",
         "--output_dir", os.path.join(peers.WORK, "peer"), "--output_name", "peer",
         "--cache_latents_to_disk", *flags], capture_output=True, text=True)


def lx_train(name, data, *flags):
    done = subprocess.run(
        [peers.LX, "train", *SHARED, "--text_encoder_heads", "4", "--train_data_dir", data,
         "--output_dir", os.path.join(peers.WORK, name), "--output_name", name, *flags],
        capture_output=True, text=True)
    return done


def contents(paths):
    return [open(path, "rb").read() for path in paths]


def written_by_the_peer(name, *flags):
    data = folder(name)
    if "--alpha_mask" in flags:
        add_transparent(data)
    done = peer_train(data, *flags)
    peers.check(f"{name}: the peer trained", done.returncode == 0,
                done.stderr[-500:] if done.returncode else "")
    found = archives(data)
    before = contents(found)
    done = lx_train(name, data, "--latents_npz", "read", *flags)
    peers.check(f"{name}: lx trains on its latents",
                done.returncode == 0 and f"latents of {len(found)} images are taken" in done.stderr
                and "not used" not in done.stderr, done.stderr[-400:] if done.returncode else "")
    peers.check(f"{name}: they are as they were", contents(found) == before)
    return data


def other_pictures_are_told(data):
    """The first latents are compared with what the VAE makes of their image."""
    pictures = sorted(os.path.join(at, name) for at, _, names in os.walk(data) for name in names
                      if name.endswith((".png", ".jpg")))
    for path in pictures:
        image = Image.open(path).convert("RGB")
        times = os.stat(path)
        Image.fromarray(255 - np.asarray(image)).save(path)
        os.utime(path, (times.st_atime, times.st_mtime))
    done = lx_train("other", data, "--latents_npz", "read")
    peers.check("latents of other pictures are refused", done.returncode == 1
                and "not what this VAE makes of" in done.stderr, done.stderr[-300:])


def written_by_lx(name, *flags):
    from library.strategy_sd import SdSdxlLatentsCachingStrategy

    data = folder(name)
    if "--alpha_mask" in flags:
        add_transparent(data)
    done = lx_train(name, data, "--latents_npz", "write", *flags)
    peers.check(f"{name}: lx wrote", done.returncode == 0, done.stderr[-400:])
    found = archives(data)
    strategy = SdSdxlLatentsCachingStrategy(True, True, 1, False)
    for path in found:
        stem = path[:path.rindex("_", 0, path.rindex("_sd.npz"))]
        image = next(stem + end for end in (".png", ".jpg") if os.path.exists(stem + end))
        size = Image.open(image).size
        z = np.load(path)
        reso = (z["latents"].shape[2] * 8, z["latents"].shape[1] * 8)
        named = strategy.get_latents_npz_path(image, size)
        expected = strategy.is_disk_cached_latents_expected(reso, path, True, "--alpha_mask" in flags)
        latents, original, crop, mirrored, mask = strategy.load_latents_from_disk(path, reso)
        from library.train_util import BucketManager
        right = (named == path and expected and latents.dtype == np.float32
                 and tuple(original) == size
                 and tuple(crop) == BucketManager.get_crop_ltrb(reso, size)
                 and mirrored.shape == latents.shape)
        if "--alpha_mask" in flags:
            right = right and mask.shape == (reso[1], reso[0]) and mask.dtype == np.float32
            if "glass" in path:
                right = right and mask[:, 0].max() == 0 and mask[:, -1].min() == 1
        peers.check(f"{name}: {os.path.basename(path)} by the peer's loader", right)
    before = contents(found)
    done = peer_train(data, *flags)
    peers.check(f"{name}: the peer trains on them and leaves them", done.returncode == 0
                and archives(data) == found and contents(found) == before,
                done.stderr[-500:] if done.returncode else "")


def same_law():
    """Of one image: lx's and the peer's latents are draws around the same mean."""
    a, b = archives(os.path.join(peers.WORK, "theirs")), archives(os.path.join(peers.WORK, "ours"))
    far, width = 0.0, 0.0
    for x, y in zip(a, b):
        far += float(((np.load(x)["latents"] - np.load(y)["latents"]) ** 2).sum())
        width += float((np.load(x)["latents"] ** 2).sum())
    peers.check("both draw around the same mean", len(a) == len(b) and len(a) > 0
                and far < 0.05 * width, f"{(far / width) ** 0.5:.4f} of their length apart")


torch.set_grad_enabled(False)
data = written_by_the_peer("theirs")
written_by_lx("ours")
same_law()
other_pictures_are_told(data)
written_by_the_peer("theirs_masked", "--alpha_mask")
written_by_lx("ours_masked", "--alpha_mask")
peers.finish()
