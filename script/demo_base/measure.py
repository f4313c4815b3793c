"""Does the base obey its tags?

    measure.py judge SET.npz VAE.pt JUDGE.pkl              fit the judge, and see how often it is right
    measure.py paint BASE.pt VAE.pt PART.npz [--first N] [--pictures N]
    measure.py report JUDGE.pkl OUT.md PART.npz... [--sheet OUT.png]

`paint` takes captions of people that nobody has drawn, all tags said, one picture each; then the same pictures from the
same noise with one of their tags left out, each attribute in its turn. The report has, for every attribute and every
tag, how often the picture has what the tag says: with the tag, and with the tag left out. Its last column is how often
the judge is right about drawn pictures that went through the autoencoder: what a perfect model would reach.
"""
import argparse
import json
import pickle
from collections import defaultdict

import numpy as np
import torch
from PIL import Image

import draw
import judge
from captions import TAGS
from export import load
from tokens import TagTokens
from unet import ddim
from vae import VAE

SEED, FIT, KNOWN = 10 ** 6, 3000, 240
MAIN = ["hair", "eyes", "clothes", "background", "expression", "style", "person", "accessory", "clothes_kind", "bangs"]
SCENE_TAGS = dict(sky=("sky", "cloud"), night=("night", "moon"), indoors=("indoors", "window"))


def tags_of(k, want):
    """The tags that say attribute k"""
    v = want[k]
    if v is None:
        return ()
    if k in ("hair", "eyes"):
        return (f"{v} {k}",)
    if k == "clothes":
        return (f"{v} {'hoodie' if want['clothes_kind'] == 'hoodie' else 'shirt'}",)
    if k == "clothes_kind":
        return ("serafuku",) if v == "serafuku" else ()
    if k == "background":
        return SCENE_TAGS.get(v) or (f"{v} background",)
    return (v,)


def pixels(x):
    return x.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def fit(a):
    torch.set_num_threads(1)
    d = np.load(a.set)
    images, traits = d["images"], [json.loads(t) for t in d["traits"]]
    vae = VAE()
    vae.load_state_dict(torch.load(a.vae))
    known = []
    for i in range(0, KNOWN, 20):
        x = torch.from_numpy(images[-KNOWN:][i:i + 20]).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            known.append(pixels(vae.decode(vae.encode(x))))
    see = judge.Judge(images[:FIT], traits[:FIT])
    right = judge.agreement(see(np.concatenate(known)), [judge.truth(t) for t in traits[-KNOWN:]])
    with open(a.judge, "wb") as f:
        pickle.dump((see, right), f)


def order(n):
    """Caption n, what it wants, and the attribute that is left out the second time"""
    r = np.random.default_rng([SEED, n])
    t = draw.traits(r)
    o = draw.tags(t)
    rest = o[1:]
    r.shuffle(rest)
    caption, want = o[:1] + rest, judge.truth(t)
    can = [k for k in MAIN if set(tags_of(k, want)) & set(caption)]
    return caption, want, can[n % len(can)]


@torch.no_grad()
def paint(a):
    torch.set_num_threads(1)
    unet, text, vae = load(a.base, a.vae)
    table = TagTokens(TAGS)
    numbers = range(a.first, a.first + a.pictures)
    full = [order(n)[0] for n in numbers]
    less = [[x for x in c if x not in tags_of(k, w)] for c, w, k in map(order, numbers)]
    out = []
    for captions in (full, less):
        for i in range(0, len(captions), 16):
            c, s = captions[i:i + 16], numbers[i:i + 16]
            noise = torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(n)) for n in s])
            cond, uncond = (text(torch.tensor([table.row(p) for p in q])) for q in (c, [[]] * len(c)))
            with torch.autocast("cpu", torch.bfloat16):
                out.append(pixels(vae.decode(ddim(unet, noise, cond, uncond, a.steps, a.guidance))))
    out = np.concatenate(out)
    np.savez(a.part, numbers=np.array(numbers), full=out[:len(full)], less=out[len(full):])


def report(a):
    with open(a.judge, "rb") as f:
        see, right = pickle.load(f)
    parts = [np.load(p) for p in a.parts]
    numbers, full, less = (np.concatenate([p[k] for p in parts]) for k in ("numbers", "full", "less"))
    got, bare = see(full), see(less)
    hits, by_tag, missing = defaultdict(list), defaultdict(list), defaultdict(list)
    for i, n in enumerate(numbers):
        caption, want, k = order(int(n))
        missing[k].append(bare[i][k] == want[k])
        for k in MAIN:
            if set(tags_of(k, want)) & set(caption) or k == "accessory":
                hits[k].append(got[i][k] == want[k])
                by_tag[k, want[k] or "none said"].append(got[i][k] == want[k])
    percent = lambda v: f"{100 * np.mean(v):.0f} % of {len(v)}" if len(v) else "-"
    lines = ["| attribute | tag said | the tag left out | the judge itself |", "|---|---|---|---|"]
    lines += [f"| {k.replace('_', ' ')} | {percent(hits[k])} | {percent(missing[k])} | {percent(right[k])} |" for k in MAIN]
    lines += ["", "| attribute | tag by tag |", "|---|---|"]
    for k in MAIN:
        lines.append(f"| {k.replace('_', ' ')} | " + ", ".join(
            f"{v} {sum(by_tag[k, v])}/{len(by_tag[k, v])}" for k2, v in sorted(by_tag) if k2 == k) + " |")
    with open(a.out, "w") as f:
        f.write("\n".join(lines) + "\n")
    print("\n".join(lines))
    if a.sheet:
        draw.sheet(full[:40]).quantize(256, dither=Image.Dither.NONE).save(a.sheet, optimize=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    s = p.add_subparsers(dest="what", required=True)
    q = s.add_parser("judge")
    q.add_argument("set"); q.add_argument("vae"); q.add_argument("judge")
    q = s.add_parser("paint")
    q.add_argument("base"); q.add_argument("vae"); q.add_argument("part")
    q.add_argument("--first", type=int, default=0)
    q.add_argument("--pictures", type=int, default=240)
    q.add_argument("--steps", type=int, default=20)
    q.add_argument("--guidance", type=float, default=4.0)
    q = s.add_parser("report")
    q.add_argument("judge"); q.add_argument("out"); q.add_argument("parts", nargs="+")
    q.add_argument("--sheet")
    a = p.parse_args()
    dict(judge=fit, paint=paint, report=report)[a.what](a)
