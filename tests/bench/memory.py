#!/usr/bin/env python3
"""Planned beside measured peak memory of `lx train`, for trainings at SD 1.5's full size.

    memory.py BUILD [part of a name]

Makes the random checkpoint of step.sh at first use and two pictures. For each training: what `lx plan`
says, and the most that was resident (ru_maxrss) in `lx train` with the same flags over its first step (two
where the VAE encodes beside them), the LoRA's saving included. Exit status 1 when one is off by more than 5 %.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib

LIMIT = 0.05
TRAININGS = [
    ("512 rank 4", "--resolution 512 --network_dim 4"),
    ("512 rank 4, three chunks", "--resolution 512 --network_dim 4 --mixed_precision bf16 --max_token_length 225"),
    ("512 rank 32 batch 2", "--resolution 512 --network_dim 32 --train_batch_size 2 --mixed_precision bf16"),
    ("512 rank 128 fp16 file", "--resolution 512 --network_dim 128 --save_precision fp16 --mixed_precision bf16"),
    ("768 rank 4", "--resolution 768 --network_dim 4 --mixed_precision bf16"),
    ("512 UNet only, 2.6 GiB", "--resolution 512 --network_dim 4 --network_train_unet_only --max_memory 2660M"),
    ("512 latents not cached", "--resolution 512 --network_dim 4 --mixed_precision bf16 --uncached"),
    ("512 encoded beside the steps", "--resolution 512 --network_dim 4 --mixed_precision bf16 --uncached "
     "--encode_ahead true --max_train_steps 2"),
]


def picture(path, seed, size=800):
    """A PNG of noise and stripes."""
    rows = bytearray()
    for y in range(size):
        rows.append(0)
        for x in range(size):
            rows += bytes((x * seed & 255, x * y & 255, y & 255))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(bytes(rows), 1)) + chunk(b"IEND", b""))


def peak_of(words):
    """ru_maxrss of one command, in bytes."""
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    message = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(words)}\n{message}")
    return usage.ru_maxrss * 1024


def main():
    build, part = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    lx = os.path.join(build, "lx")
    checkpoint = os.path.join(build, "tests/fixtures/sd15.safetensors")
    if not os.path.exists(checkpoint):
        os.makedirs(os.path.dirname(checkpoint), exist_ok=True)
        subprocess.run([os.path.join(build, "tests/make_checkpoint"), "sd15", checkpoint], check=True)
    n_off = 0
    print(f"{'training':32} {'planned':>9} {'measured':>9}    of which weights, arena, LoRA + optimizer, program")
    with tempfile.TemporaryDirectory() as work:
        images = os.path.join(work, "img", "1_x")
        os.makedirs(images)
        for i in range(2):
            picture(os.path.join(images, f"{i}.png"), i + 3)
            with open(os.path.join(images, f"{i}.txt"), "w") as f:
                f.write("a thing, another thing")
        for name, flags in TRAININGS:
            if part not in name:
                continue
            words = flags.split()
            words = [w for w in words if w != "--uncached"] + (["--cache_latents"] if "--uncached" not in words else [])
            words = ["--pretrained_model_name_or_path", checkpoint, "--train_data_dir", os.path.dirname(images),
                     "--caption_extension", ".txt", "--max_train_steps", "1", "--seed", "1",
                     "--learning_rate", "1e-4", *words]
            said = json.loads(subprocess.run([lx, "plan", "--json", *words], check=True,
                                             capture_output=True, text=True).stdout)
            got = peak_of([lx, "train", *words, "--output_dir", work, "--output_name", "a",
                           "--store", os.path.join(work, "store")])
            planned = said["peak_bytes"]
            off = planned / got - 1
            n_off += abs(off) > LIMIT
            mb = {key: value / 1e6 for key, value in said.items() if key.endswith("_bytes")}
            print(f"{name:32} {planned / 1e6:6.0f} MB {got / 1e6:6.0f} MB {100 * off:+.1f} %  "
                  f"{mb['touched_bytes'] + mb['copied_bytes']:.0f}, {mb['arena_bytes']:.0f}, "
                  f"{mb['lora_bytes'] + mb['optimizer_bytes'] + mb['saving_bytes']:.0f}, "
                  f"{mb['program_bytes']:.0f}", flush=True)
    sys.exit(1 if n_off else 0)


main()
