"""Teach the text encoder to read before the UNet listens: train_text.py OUTDIR [--steps N]

At every position it must know what the caption has said so far (hair colour, hat, ...): one linear classifier for each
attribute, thrown away afterwards. It stands for the contrastive training that CLIP's text encoder comes from, and saves
the UNet from being the only teacher of word order. OUTDIR gets text.pt and text.log.
"""
import argparse
import math
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import draw
from captions import NAMES, SIZES, TAGS, meaning, say, with_stranger
from text import TextEncoder, WIDTH
from tokens import TagTokens

BATCH, LR = 48, 3e-3


def main(a):
    torch.set_num_threads(1)
    torch.manual_seed(11)
    r = np.random.default_rng(11)
    table = TagTokens(TAGS)
    text = TextEncoder(table.used)
    heads = nn.Linear(WIDTH, sum(SIZES))
    params = list(text.parameters()) + list(heads.parameters())
    opt = torch.optim.Adam(params, LR, betas=(0.9, 0.98))
    os.makedirs(a.out, exist_ok=True)
    log = open(os.path.join(a.out, "text.log"), "w")
    begin = time.time()
    for step in range(a.steps):
        opt.param_groups[0]["lr"] = LR * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / a.steps)))
        parts = [with_stranger(r, say(r, draw.traits(r)), .3) for _ in range(BATCH)]
        ids = torch.tensor([table.row(p) for p in parts])
        want = torch.from_numpy(np.stack([meaning(table, p) for p in parts]))
        out = heads(text(ids)).split(SIZES, -1)
        loss = sum(F.cross_entropy(o.flatten(0, 1), want[..., i].flatten()) for i, o in enumerate(out))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        if step % 50 == 0 or step == a.steps - 1:
            right = [(o[:, -1].argmax(-1) == want[:, -1, i]).float().mean().item() for i, o in enumerate(out)]
            print(f"step {step} seconds {time.time() - begin:.0f} loss {loss.item():.3f} read at the end "
                  + " ".join(f"{n} {v:.2f}" for n, v in zip(NAMES, right)), file=log, flush=True)
    used = text.token.std().item()
    print(f"spread of the used embeddings {used:.3f}, of the others {text.fixed.std().item():.3f}", file=log, flush=True)
    torch.save(dict(text=text.state_dict(), used=table.used), os.path.join(a.out, "text.pt"))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("--steps", type=int, default=1500)
    main(p.parse_args())
