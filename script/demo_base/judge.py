"""What is in a picture, told from its pixels alone.

Colours: the pixels of a fixed area vote for the nearest colour of the drawing's palette. Shapes: ridge regression on
edges and coarse colours, fitted to drawn pictures. `judge.py SET.npz` prints how often it is right about pictures of the
set that it was not fitted to.
"""
import json
import sys

import numpy as np

import draw

NEAR = 55                          # RGB distance beyond which a pixel is none of the palette
SHAPES = ["person", "style", "expression", "clothes_kind", "bangs", "accessory"]
HAT, COLLAR = [(60, 62, 140), (48, 50, 112), (24, 25, 56)], [(45, 58, 120)]
SCENES = dict(sky=[(92, 172, 246), (118, 186, 248)], night=[(18, 20, 62), (30, 32, 82)], indoors=[(226, 196, 158)])


def _vote(pixels, palette, others=(), near=NEAR):
    """pixels [..., 3] -> name of the colour with most votes; None where nothing is near. Pixels that are nearest to one
    of the `others` have no vote."""
    names = list(palette)
    palette = dict(palette, **{f"other {i}": c for i, c in enumerate(others)})
    p = pixels.reshape(-1, 1, 3).astype(np.float32)
    d = np.linalg.norm(p - np.array(list(palette.values()), np.float32), axis=-1)
    n = np.bincount(d.argmin(1)[d.min(1) < near], minlength=len(names))[:len(names)]
    return names[n.argmax()] if n.max() > 0 else None


def colours(im):
    """One picture [128, 128, 3] -> hair, eyes, clothes, background by name"""
    eyes = np.concatenate([im[62:82, 42:58].reshape(-1, 3), im[62:82, 70:86].reshape(-1, 3)])
    corners = np.concatenate([im[:26, :20].reshape(-1, 3), im[:26, 108:].reshape(-1, 3)])
    shoulders = np.concatenate([im[120:, 28:48].reshape(-1, 3), im[120:, 80:100].reshape(-1, 3)])
    back = dict(draw.BACK)
    back.update({f"{k} {i}": c for k, v in SCENES.items() for i, c in enumerate(v)})
    b = _vote(corners, back)
    return dict(hair=_vote(im[30:62, 34:94], draw.HAIR, HAT), eyes=_vote(eyes, draw.EYES),
                clothes=_vote(shoulders, draw.SHIRT, COLLAR), background=b and b.split()[0])


def truth(t):
    """Traits of draw.py -> the same names"""
    return dict(hair=t["hair"], eyes=t["eyes"] if t["expr"] != "closed eyes" else None, clothes=t["shirt"],
                background=t["scene"] or t["back"], person="1girl" if t["girl"] else "1boy", style=t["style"],
                expression=t["expr"], clothes_kind=t["top"] if t["top"] in ("hoodie", "serafuku") else "shirt",
                bangs=("blunt bangs" if t["fringe"] else "parted bangs") if t["girl"] else None, accessory=t["acc"])


def _pool(x, n):
    h, w = x.shape[1] // n, x.shape[2] // n
    return x.reshape(len(x), h, n, w, n, -1).mean((2, 4))


def _features(images):
    x = images.astype(np.float32) / 255
    gx = np.abs(np.diff(x, axis=2, append=x[:, :, -1:])).max(-1, keepdims=True)
    gy = np.abs(np.diff(x, axis=1, append=x[:, -1:])).max(-1, keepdims=True)
    f = [_pool(np.concatenate([gx, gy], -1), 4)[:, 2:, 2:30], _pool(x, 8)]
    return np.concatenate([a.reshape(len(x), -1) for a in f] + [np.ones((len(x), 1), np.float32)], 1)


def _blurred(images):
    p = np.pad(images.astype(np.float32), ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    h, w = images.shape[1:3]
    return sum(p[:, y:y + h, x:x + w] for y in range(3) for x in range(3)) / 9


class Judge:
    def __init__(self, images, traits):
        """Fitted to drawn pictures, half of them blurred and all a little noisy, as sampled ones are less clean."""
        r = np.random.default_rng(3)
        half = len(images) // 2
        seen = np.concatenate([images[:half], _blurred(images[half:])])
        f = _features(np.clip(seen + r.normal(0, 4, seen.shape), 0, 255))
        self.scale = f.std(0) + 1e-2
        f = f / self.scale
        inverse = np.linalg.inv(f.T @ f + 30 * np.eye(f.shape[1], dtype=np.float32)) @ f.T
        said = [truth(t) for t in traits]
        self.values, self.weights = {}, {}
        for k in SHAPES:
            v = sorted({str(s[k]) for s in said})
            self.values[k] = v
            self.weights[k] = inverse @ np.array([[str(s[k]) == n for n in v] for s in said], np.float32)

    def __call__(self, images):
        f = _features(images) / self.scale
        shapes = {k: [self.values[k][i] for i in (f @ self.weights[k]).argmax(1)] for k in SHAPES}
        out = []
        for i, im in enumerate(images):
            o = colours(im)
            o.update({k: None if shapes[k][i] == "None" else shapes[k][i] for k in SHAPES})
            out.append(o)
        return out


def agreement(got, want):
    """-> attribute -> whether right, one for each picture that has it"""
    out = {}
    for k in want[0]:
        out[k] = [g[k] == w[k] for g, w in zip(got, want) if w[k] is not None or k == "accessory"]
    return out


if __name__ == "__main__":
    d = np.load(sys.argv[1])
    t = [json.loads(x) for x in d["traits"]]
    see = Judge(d["images"][:3000], t[:3000])
    for k, v in agreement(see(d["images"][5000:]), [truth(x) for x in t[5000:]]).items():
        print(f"{k:14} {np.mean(v):.3f} of {len(v)}")
