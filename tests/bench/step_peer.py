#!/usr/bin/env python3
"""A training step of lx beside the peer's, in turns: SD 1.5's size, 512 x 512, batch 1, rank 4, text encoder trained.

    step_peer.py BUILD SD_SCRIPTS [--rounds 3] [--steps 3] [--dtypes f32 bf16] [--size 512] [--threads 2]

To be run by a Python that has torch, transformers, diffusers, accelerate and what sd-scripts imports
(tests/peers/setup.sh); SD_SCRIPTS is a source tree of v0.10.1. The peer's step is its own UNet
(library/original_unet.py, scaled-dot-product attention) and networks.lora on random weights: text encoder on 3 x 77
tokens, clip skip 2, mean squared error, backward, torch's AdamW, autocast and bf16 weights for bf16. lx's is
tests/bench/step.sh. In each round both are started anew; the first step of each is left out. Prints medians,
their ratio, the most that was resident and the share of the processors that was at work.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("build")
parser.add_argument("sd_scripts")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--dtypes", nargs="+", default=["f32", "bf16"], choices=["f32", "bf16"])
parser.add_argument("--size", type=int, default=512)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rank", type=int, default=4)
parser.add_argument("--peer", action="store_true", help="only the peer's steps, a line each")
args = parser.parse_args()


def peer(dtype):
    """Takes the peer's steps and prints seconds, processor seconds and peak MiB of each."""
    sys.path.insert(0, args.sd_scripts)
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel
    import networks.lora as lora
    from library import original_unet

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    half = torch.bfloat16 if dtype == "bf16" else None
    unet = original_unet.UNet2DConditionModel(sample_size=64, attention_head_dim=8, cross_attention_dim=768,
                                              use_linear_projection=False, upcast_attention=False)
    text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                                        num_attention_heads=12, hidden_act="quick_gelu", projection_dim=768))
    for model in (unet, text):
        model.requires_grad_(False)
    unet.set_use_sdpa(True)
    network = lora.create_network(1.0, args.rank, 1.0, None, text, unet)
    network.apply_to(text, unet, True, True)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    if half:
        unet.to(half)
        text.to(half)
    latents = torch.randn(1, 4, args.size // 8, args.size // 8)
    ids = torch.randint(0, 49407, (3, 77))
    for _ in range(args.steps):
        begin, cpu = time.monotonic(), time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half is not None):
            hidden = text(ids, output_hidden_states=True).hidden_states[-2]
            hidden = text.text_model.final_layer_norm(hidden).reshape(1, -1, 768)
            noise = torch.randn_like(latents)
            predicted = unet(latents + noise, torch.tensor([500]), hidden).sample
            loss = torch.nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(json.dumps({"seconds": time.monotonic() - begin, "cpu_s": time.process_time() - cpu,
                          "peak_resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)


def steps_of(words):
    """The JSON lines of a command that speak of a step."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    out = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment).stdout
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return [line for line in lines if "seconds" in line]


def beside(dtype):
    """Both in turns; prints what came out."""
    here = os.path.dirname(os.path.abspath(__file__))
    precision = "bf16" if dtype == "bf16" else "no"
    commands = {
        "lx": [os.path.join(here, "step.sh"), args.build, "--mixed_precision", precision, "--steps", str(args.steps),
               "--size", str(args.size), "--rank", str(args.rank), "--threads", str(args.threads)],
        "peer": [sys.executable, os.path.abspath(__file__), args.build, args.sd_scripts, "--peer", "--dtypes", dtype,
                 "--steps", str(args.steps), "--size", str(args.size), "--threads", str(args.threads), "--rank", str(args.rank)],
    }
    seconds, peak, ratios = {"lx": [], "peer": []}, {"lx": 0, "peer": 0}, []
    at_work = {"lx": [], "peer": []}
    for _ in range(args.rounds):
        median = {}
        for name, words in commands.items():
            steps = steps_of(words)[1:]
            median[name] = statistics.median(s["seconds"] for s in steps)
            seconds[name] += [s["seconds"] for s in steps]
            at_work[name] += [s["cpu_s"] / s["seconds"] / args.threads for s in steps]
            peak[name] = max(peak[name], max(s["peak_resident_mib"] for s in steps))
        ratios.append(median["peer"] / median["lx"])
    for name in commands:
        print(f"{dtype:5} {name:5} {statistics.median(seconds[name]):6.2f} s a step ({min(seconds[name]):.2f} to "
              f"{max(seconds[name]):.2f}), {peak[name]:6.0f} MiB, {statistics.median(at_work[name]):.0%} of the processors")
    print(f"{dtype:5} peer / lx: {statistics.median(ratios):.2f} in time ({min(ratios):.2f} to {max(ratios):.2f} over "
          f"{args.rounds} rounds), {peak['lx'] / peak['peer']:.3f} of its memory", flush=True)


if args.peer:
    peer(args.dtypes[0])
else:
    for wanted in args.dtypes:
        beside(wanted)
