"""Train UNet and text encoder together on cached latents:

    train_unet.py encode SET.npz VAE.pt LATENTS.npz         pictures to latents
    train_unet.py train LATENTS.npz TEXT.pt OUTDIR --minutes M [--resume] [--from BASE.pt] [--vae VAE.pt]

As in train_vae.py: two processes of one thread, learning rate by time used, averaged weights. The processes go on by
themselves for SYNC steps and then take the mean of their weights: waiting for each other at every step would cost much
where other programs run too. OUTDIR gets base.pt (the
averaged weights, every few minutes), unet_state.pt (to resume, with the optimizer), unet.log and, with --vae, sample
sheets. --from goes on from averaged weights alone, with a fresh optimizer.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from PIL import Image

from captions import TAGS, say, with_stranger
from text import TextEncoder
from tokens import TagTokens
from unet import ALPHAS, UNet, ddim
from vae import VAE

BATCH, LR, TEXT_LR, WARMUP, SYNC, DECAY = 12, 1e-3, 2e-4, 200, 8, 0.98
UNCOND, STRANGER = 0.1, 0.15
SHOWN = ["1girl, solo, pink hair, long hair, blue eyes, smile, white shirt, green background, blunt bangs",
         "1boy, solo, green hair, spiky hair, red eyes, open mouth, yellow shirt, blue background",
         "1girl, solo, black hair, twintails, hat, red eyes, frown, red shirt, white background",
         "1girl, solo, blonde hair, ponytail, glasses, green eyes, smile, blue hoodie, pink background",
         "1girl, solo, blue hair, bob cut, cat ears, yellow eyes, open mouth, serafuku, white shirt, sky, cloud",
         "1boy, solo, red hair, short hair, closed eyes, black hoodie, night, moon",
         "1girl, solo, purple hair, short hair, hair bow, purple eyes, smile, green shirt, indoors, window",
         "1girl, solo, brown hair, horns, long hair, parted bangs, green eyes, frown, white shirt, grey background"]


@torch.no_grad()
def encode_part(job):
    images, path = job
    torch.set_num_threads(1)
    vae = VAE()
    vae.load_state_dict(torch.load(path))
    out = []
    for i in range(0, len(images), 16):
        x = torch.from_numpy(images[i:i + 16]).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            out.append(vae.encode(x))
    return torch.cat(out).numpy()


def encode(a):
    d = np.load(a.set)
    with mp.get_context("spawn").Pool(2) as pool:
        z = torch.from_numpy(np.concatenate(pool.map(encode_part, [(h, a.vae) for h in np.array_split(d["images"], 2)])))
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    state = torch.load(a.vae)                     # from now on its latents have zero mean and unit variance
    state["whole_mean"], state["whole_std"] = state["whole_mean"] + state["whole_std"] * mean, state["whole_std"] * std
    torch.save(state, a.vae)
    z = (z - mean[:, None, None]) / std[:, None, None]
    np.savez(a.latents, latents=z.half().numpy(), traits=d["traits"])
    print("latents", tuple(z.shape), "mean", mean.tolist(), "std", std.tolist())


def stratified(n, ranks, rank, r):
    """Timesteps of this process: one from each of n * ranks equal parts of 0..999."""
    parts = n * ranks
    order = np.random.default_rng(int(r.integers(1 << 30))).permutation(parts)[rank::ranks]
    return torch.from_numpy(np.minimum(999, (order + r.random(n)) / parts * 1000).astype(np.int64))


def weights(t):
    """Min-SNR (gamma 5), and more for strong noise, where colours and shapes are decided."""
    snr = ALPHAS[t] / (1 - ALPHAS[t])
    return snr.clamp(max=5) / snr * (1 + 1 / snr).sqrt()


@torch.no_grad()
def show(unet, text, vae, table, path):
    g = torch.Generator().manual_seed(1)
    noise = torch.randn(len(SHOWN), 4, 16, 16, generator=g)
    ids = torch.tensor([table.row(s.split(", ")) for s in SHOWN])
    with torch.autocast("cpu", torch.bfloat16):
        x = ddim(unet, noise, text(ids), text(torch.tensor([table.row([])] * len(SHOWN))), 20)
        y = vae.decode(x)
    y = y.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(2, 0, 3, 1)
    Image.fromarray(y.reshape(y.shape[0], -1, 3).numpy()).save(path)


def work(rank, a):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{os.path.abspath(a.out)}/rendezvous", rank=rank, world_size=2)
    d = np.load(a.latents)
    latents, traits = torch.from_numpy(d["latents"]), [json.loads(t) for t in d["traits"]]
    table = TagTokens(TAGS)
    torch.manual_seed(13)
    unet, start = UNet(), torch.load(a.text)
    text = TextEncoder(start["used"])
    text.load_state_dict(start["text"])
    params = [p for p in unet.parameters() if p.requires_grad]
    groups = [dict(params=params, peak=LR), dict(params=list(text.parameters()), peak=TEXT_LR)]
    params = params + groups[1]["params"]
    if a.start:
        s = torch.load(a.start)
        unet.load_state_dict(s["unet"]); text.load_state_dict(s["text"])
    opt = torch.optim.Adam(groups, LR, betas=(0.9, 0.98), fused=True)
    ema = [p.detach().clone() for p in params]
    step, used = 0, 0.0
    state = os.path.join(a.out, "unet_state.pt")
    if a.resume:
        s = torch.load(state)
        unet.load_state_dict(s["unet"]); text.load_state_dict(s["text"])
        opt.load_state_dict(s["opt"]); ema = s["ema"]; step, used = s["step"], s["used"]
    r = np.random.default_rng([13, rank, step])
    torch.manual_seed(1000003 * step + rank)
    together = np.random.default_rng([17, step])                 # the same in both processes
    log = open(os.path.join(a.out, "unet.log"), "a") if rank == 0 else None
    vae = None
    if a.vae and rank == 0:
        vae = VAE()
        vae.load_state_dict(torch.load(a.vae))
    begin, saved, shown, last = time.time() - used, used, used, False
    total, n, bands = 0.0, 0, torch.zeros(2, 4)
    while not last or step % SYNC:
        if step % SYNC == 0:
            flat = torch.cat([p.detach().flatten() for p in params] + [torch.tensor([time.time() - begin if rank == 0 else 0.0])])
            dist.all_reduce(flat)
            used = flat[-1].item()
            at = 0
            for p in params:
                p.data.copy_(flat[at:at + p.numel()].view_as(p) / 2); at += p.numel()
            torch._foreach_lerp_(ema, [p.detach() for p in params], 1 - min(DECAY, step / (step + 20)))
            part = min(1.0, used / (60 * a.minutes))
            last = part >= 1
            for g in opt.param_groups:
                g["lr"] = g["peak"] * min(1, (step + 1) / WARMUP) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))
        which = r.integers(len(traits), size=BATCH)
        rows = []
        for i in which:
            parts = [] if r.random() < UNCOND else with_stranger(r, say(r, traits[i]), STRANGER)
            rows.append(table.row(parts))
        x0 = latents[torch.from_numpy(which)].float()
        t = stratified(BATCH, 2, rank, together)
        noise = torch.randn_like(x0)
        alpha = ALPHAS[t][:, None, None, None]
        context = text(torch.tensor(rows))
        with torch.autocast("cpu", torch.bfloat16):
            e = unet(alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise, t, context)
        each = (e.float() - noise).square().mean((1, 2, 3))
        loss = (weights(t) * each).mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        step += 1
        total += loss.item(); n += 1
        bands[0].index_add_(0, t // 250, each.detach()); bands[1].index_add_(0, t // 250, torch.ones(BATCH))
        if rank == 0 and (used - shown > 30 or last and step % SYNC == 0):
            print(f"step {step} seconds {used:.0f} loss {total / n:.4f} by quarter of t "
                  + " ".join(f"{v:.4f}" for v in (bands[0] / bands[1]).tolist())
                  + f" lr {opt.param_groups[0]['lr']:.2e}", file=log, flush=True)
            total, n, shown = 0.0, 0, used
            bands.zero_()
        if rank == 0 and step % SYNC == 0 and (used - saved > 300 or last):
            saved = used
            raw = [p.detach().clone() for p in params]
            for p, e in zip(params, ema): p.data.copy_(e)
            torch.save(dict(unet=unet.state_dict(), text=text.state_dict(), used=table.used, step=step), os.path.join(a.out, "base.pt.tmp"))
            os.replace(os.path.join(a.out, "base.pt.tmp"), os.path.join(a.out, "base.pt"))
            if vae: show(unet, text, vae, table, os.path.join(a.out, f"unet_{int(used):05d}.png"))
            for p, e in zip(params, raw): p.data.copy_(e)
            torch.save(dict(unet=unet.state_dict(), text=text.state_dict(), opt=opt.state_dict(), ema=ema, step=step, used=used), state + ".tmp")
            os.replace(state + ".tmp", state)
    dist.destroy_process_group()


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    s = p.add_subparsers(dest="what", required=True)
    q = s.add_parser("encode")
    q.add_argument("set"); q.add_argument("vae"); q.add_argument("latents")
    q = s.add_parser("train")
    q.add_argument("latents"); q.add_argument("text"); q.add_argument("out")
    q.add_argument("--minutes", type=float, default=80)
    q.add_argument("--resume", action="store_true")
    q.add_argument("--from", dest="start")
    q.add_argument("--vae")
    a = p.parse_args()
    if a.what == "encode":
        encode(a)
    else:
        os.makedirs(a.out, exist_ok=True)
        if os.path.exists(os.path.join(a.out, "rendezvous")):
            os.remove(os.path.join(a.out, "rendezvous"))
        mp.spawn(work, (a,), 2)
