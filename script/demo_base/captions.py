"""Captions of the general set: what is said, in which order, and what a reader must make of it."""
import numpy as np

import draw
from tokens import BEGIN, END, LENGTH, VOCABULARY

# What a caption can say: attribute -> tag -> value. Value 0 is "not said".
ATTRIBUTES = {
    "person": {"1girl": 1, "1boy": 2},
    "hair": {f"{k} hair": i + 1 for i, k in enumerate(draw.HAIR)},
    "style": {k: i + 1 for i, k in enumerate(sorted(set(draw.GIRL_STYLES + draw.BOY_STYLES)))},
    "eyes": {f"{k} eyes": i + 1 for i, k in enumerate(draw.EYES)},
    "expression": {k: i + 1 for i, k in enumerate(draw.EXPRESSIONS)},
    "clothes": {f"{k} {w}": i + 1 for i, k in enumerate(draw.SHIRT) for w in ("shirt", "hoodie")},
    "hoodie": {f"{k} {w}": v for k in draw.SHIRT for w, v in (("shirt", 1), ("hoodie", 2))},
    "serafuku": {"serafuku": 1},
    "bangs": {"blunt bangs": 1, "parted bangs": 2},
    "accessory": {k: i + 1 for i, k in enumerate(draw.ACCESSORIES)},
    "background": {f"{k} background": i + 1 for i, k in enumerate(draw.BACK)},
    "scene": {"sky": 1, "cloud": 1, "night": 2, "moon": 2, "indoors": 3, "window": 3},
}
NAMES = list(ATTRIBUTES)
SIZES = [max(v.values()) + 1 for v in ATTRIBUTES.values()]
TAGS = sorted({t for v in ATTRIBUTES.values() for t in v} | {"solo"})


def say(r, traits):
    """Tags of one picture: the person first, the others shuffled, 10 to 30 % left out."""
    o = draw.tags(traits)
    drop = r.uniform(.1, .3)
    rest = [t for t in o[1:] if r.random() > drop]
    r.shuffle(rest)
    return o[:1] + rest


def with_stranger(r, parts, chance):
    """Sometimes one word that means nothing, so that an unknown word alone changes nothing."""
    if r.random() >= chance:
        return parts
    word = [int(i) for i in r.integers(256, VOCABULARY - 2, size=int(r.integers(1, 4)))]
    at = 0 if r.random() < .5 else int(r.integers(len(parts) + 1))
    return parts[:at] + [word] + parts[at:]


def meaning(table, parts):
    """What is said up to each token: int64 [77, attributes]"""
    out = np.zeros((LENGTH, len(NAMES)), dtype=np.int64)
    at = 1
    for n, part in enumerate(parts):
        if n: at += len(table.ids[","])
        at += len(table.ids[part] if isinstance(part, str) else part)
        for i, name in enumerate(NAMES):
            if isinstance(part, str) and part in ATTRIBUTES[name]: out[at - 1:, i] = ATTRIBUTES[name][part]
    return out
