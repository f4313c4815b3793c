"""Does the base obey its tags? measure.py BASE.pt VAE.pt SET.npz OUT.md [--pictures N] [--sheet OUT.png]

N captions of drawings that nobody has made, all tags said, one picture each; then the same pictures from the same noise
with one of their tags left out, each attribute in its turn. judge.py says what is in them. The table has, for every
attribute and every tag, how often the picture has what the tag says: with the tag, and with the tag left out.
"""
import argparse
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

SEED = 10 ** 6
MAIN = ["hair", "eyes", "clothes", "background", "expression", "style", "person", "accessory", "clothes_kind", "bangs"]
SCENE_TAGS = dict(sky=("sky", "cloud"), night=("night", "moon"), indoors=("indoors", "window"))


def tags_of(k, want):
    """The tags that say attribute k"""
    v = want[k]
    if v is None: return ()
    if k in ("hair", "eyes"): return (f"{v} {k}",)
    if k == "clothes": return (f"{v} {'hoodie' if want['clothes_kind'] == 'hoodie' else 'shirt'}",)
    if k == "clothes_kind": return ("serafuku",) if v == "serafuku" else ()
    if k == "background": return SCENE_TAGS.get(v) or (f"{v} background",)
    return (v,)


@torch.no_grad()
def paint(unet, text, vae, table, captions, seeds, steps, guidance, batch=16):
    out = []
    for i in range(0, len(captions), batch):
        c, s = captions[i:i + batch], seeds[i:i + batch]
        noise = torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(n)) for n in s])
        cond, uncond = (text(torch.tensor([table.row(p) for p in q])) for q in (c, [[]] * len(c)))
        with torch.autocast("cpu", torch.bfloat16):
            x = vae.decode(ddim(unet, noise, cond, uncond, steps, guidance))
        out.append(x.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(out)


def main(a):
    torch.set_num_threads(1)
    unet, text, vae = load(a.base, a.vae)
    table, see = TagTokens(TAGS), judge.fit(a.set)
    want, captions, left_out, without = [], [], [], []
    for n in range(a.pictures):
        r = np.random.default_rng([SEED, n])
        t = draw.traits(r)
        o = draw.tags(t)
        rest = o[1:]
        r.shuffle(rest)
        want.append(judge.truth(t))
        captions.append(o[:1] + rest)
        can = [k for k in MAIN if set(tags_of(k, want[n])) & set(captions[n])]
        k = can[n % len(can)]
        left_out.append(k)
        without.append([x for x in captions[n] if x not in tags_of(k, want[n])])
    seeds = list(range(a.pictures))
    images = paint(unet, text, vae, table, captions, seeds, a.steps, a.guidance)
    got = see(images)
    bare = see(paint(unet, text, vae, table, without, seeds, a.steps, a.guidance)) if not a.quick else None
    drawn = see(np.stack([np.asarray(draw.example(SEED + n)[0]) for n in range(300)]))
    drawn_want = [judge.truth(draw.example(SEED + n)[2]) for n in range(300)]
    hits, by_tag, missing, right = defaultdict(list), defaultdict(list), defaultdict(list), defaultdict(list)
    for n, w in enumerate(want):
        for k in MAIN:
            if not set(tags_of(k, w)) & set(captions[n]) and not (k == "accessory" and w[k] is None): continue
            hits[k].append(got[n][k] == w[k])
            by_tag[k, w[k] or "none"].append(got[n][k] == w[k])
        if bare: missing[left_out[n]].append(bare[n][left_out[n]] == w[left_out[n]])
    for g, w in zip(drawn, drawn_want):
        for k in MAIN:
            if w[k] is not None or k == "accessory": right[k].append(g[k] == w[k])
    percent = lambda v: f"{100 * np.mean(v):.0f} % of {len(v)}" if len(v) else "-"
    lines = ["| attribute | tag said | the tag left out | the judge on drawn pictures |", "|---|---|---|---|"]
    lines += [f"| {k.replace('_', ' ')} | {percent(hits[k])} | {percent(missing[k])} | {percent(right[k])} |" for k in MAIN]
    lines += ["", "| tag | obeyed |", "|---|---|"]
    for k in MAIN:
        lines += [f"| {k.replace('_', ' ')}: {v} | {percent(by_tag[k, v])} |" for k2, v in sorted(by_tag) if k2 == k]
    open(a.out, "w").write("\n".join(lines) + "\n")
    print("\n".join(lines))
    if a.sheet:
        Image.fromarray(images[:40].reshape(5, 8, 128, 128, 3).transpose(0, 2, 1, 3, 4).reshape(640, 1024, 3)).save(a.sheet)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("base"); p.add_argument("vae"); p.add_argument("set"); p.add_argument("out")
    p.add_argument("--pictures", type=int, default=240)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--guidance", type=float, default=4.0)
    p.add_argument("--quick", action="store_true", help="do not leave tags out")
    p.add_argument("--sheet")
    main(p.parse_args())
