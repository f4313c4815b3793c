"""Cartoon people with Danbooru-like tags, every picture a function of its seed (Pillow and numpy).

    draw.py sheet OUT.png [N]          contact sheet of N pictures and of the characters
    draw.py set OUT.npz N [SEED]       N pictures (uint8 [N, 128, 128, 3]) with captions and traits
    draw.py characters DIR             two new characters: DIR/iwl/10_iwl 1girl/*.png + .txt, DIR/nhh/10_nhh 1boy/...
"""
import copy
import json
import math
import os
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image, ImageDraw

SIZE, SS = 128, 2                  # drawn at SIZE * SS, then reduced
HAIR = dict(black=(52, 48, 60), brown=(132, 82, 50), blonde=(245, 212, 98), red=(205, 48, 48), pink=(250, 150, 190),
            blue=(64, 110, 215), green=(76, 165, 84), purple=(142, 84, 190))
EYES = dict(blue=(50, 110, 230), green=(40, 165, 70), red=(220, 40, 50), purple=(150, 70, 210), yellow=(240, 190, 30))
SHIRT = dict(white=(245, 245, 248), red=(215, 55, 55), blue=(60, 95, 205), green=(70, 160, 85), yellow=(245, 208, 70),
             black=(56, 54, 64))
BACK = dict(white=(250, 250, 250), blue=(165, 208, 250), pink=(253, 205, 220), yellow=(253, 240, 165),
            green=(185, 232, 180), grey=(180, 182, 190))
GIRL_STYLES = ["short hair", "long hair", "twintails", "ponytail", "bob cut"]
BOY_STYLES = ["short hair", "spiky hair"]
ACCESSORIES = ["hat", "hair bow", "glasses", "horns", "cat ears"]
EXPRESSIONS = ["smile", "open mouth", "closed eyes", "frown"]
SCENES = ["sky", "night", "indoors"]
SKIN = (254, 220, 195)
MOUTH, EYE_LINE = (120, 45, 45), (48, 38, 48)


def shade(c, f):
    """Darker for f below 1, nearer to white above."""
    return tuple(int(max(0, min(255, v * f if f <= 1 else v + (255 - v) * (f - 1)))) for v in c)


def vary(r, c, s=7):
    return tuple(int(np.clip(v + r.normal(0, s * 0.6), 0, 255)) for v in c)


def outline(c, light, dark):
    return shade(c, light) if sum(c) > 230 else shade(c, dark)


def curve(pts, n=8, closed=True):
    """Catmull-Rom through pts"""
    p = np.asarray(pts, float)
    if not closed:
        p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
        seg = [(p[i - 1], p[i], p[i + 1], p[i + 2]) for i in range(1, len(p) - 2)]
    else:
        m = len(p)
        seg = [(p[i - 1], p[i], p[(i + 1) % m], p[(i + 2) % m]) for i in range(m)]
    t = np.linspace(0, 1, n, endpoint=False)[:, None]
    out = [0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t ** 2 + (3 * b - a - 3 * c + d) * t ** 3)
           for a, b, c, d in seg]
    out = np.vstack(out)
    return np.vstack([out, p[-2:-1]]) if not closed else out


class Pen:
    """Draws in face coordinates: (0, 0) is the centre of the face, 1 half its width; x to the right, y down."""

    def __init__(self, r, d, cx, cy, R, tilt):
        self.r, self.d, self.c, self.R = r, d, np.array([cx, cy]) * SS, R * SS
        self.m = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
        self.w = 1.7 * SS

    def lifted(self, dy):
        q = copy.copy(self)
        q.c = self.c - [0, dy * self.R]
        return q

    def at(self, pts):
        return self.c + self.R * (np.asarray(pts, float) @ self.m.T)

    def shape(self, pts, fill, line=None, smooth=True, jit=0.012, w=None):
        p = np.asarray(pts, float) + self.r.normal(0, jit, (len(pts), 2))
        p = self.at(curve(p) if smooth else p)
        q = [tuple(v) for v in p]
        if fill:
            self.d.polygon(q, fill=fill)
        if line:
            self.d.line(q + [q[0], q[1]], fill=line, width=int(round(w or self.w)), joint="curve")

    def stroke(self, pts, fill, w=None, jit=0.008):
        p = np.asarray(pts, float) + self.r.normal(0, jit, (len(pts), 2))
        q = [tuple(v) for v in self.at(curve(p, closed=False))]
        self.d.line(q, fill=fill, width=int(round(w or self.w)), joint="curve")

    def disc(self, x, y, rx, ry, fill, line=None, w=None):
        a = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        self.shape(np.c_[x + rx * np.cos(a), y + ry * np.sin(a)], fill, line, smooth=False, jit=0, w=w)


# ---- behind the person

def gradient(im, top, bottom):
    S = SIZE * SS
    y = np.linspace(0, 1, S)[:, None, None]
    im.paste(Image.fromarray(np.uint8(np.broadcast_to(top * (1 - y) + bottom * y, (S, S, 3)))))


def sky(r, im, d):
    S = SIZE * SS
    gradient(im, np.array(vary(r, (92, 172, 246))), np.array((190, 228, 253)))
    for _ in range(r.integers(2, 4)):
        x, y, s = r.uniform(0, S), r.uniform(0.05, 0.5) * S, r.uniform(0.06, 0.1) * S
        for dx, dy, f in ((-1.2, 0.2, .8), (0, -.1, 1.15), (1.2, .2, .85), (0, .35, 1)):
            d.ellipse([x + dx * s - s * f, y + dy * s - s * f * .75, x + dx * s + s * f, y + dy * s + s * f * .75],
                      fill=(255, 255, 255))
    g = int(r.uniform(0.78, 0.86) * S)
    d.rectangle([0, g, S, S], fill=vary(r, (110, 196, 96)))


def night(r, im, d):
    S = SIZE * SS
    gradient(im, np.array(vary(r, (18, 20, 62))), np.array((58, 52, 120)))
    for _ in range(12):
        x, y, s = r.uniform(0, S), r.uniform(0, .9) * S, r.uniform(1.2, 2.0) * SS
        d.ellipse([x - s, y - s, x + s, y + s], fill=(255, 250, 205))
    x, y, s = (0.14 if r.random() < .5 else .86) * S + r.normal(0, 4), .15 * S + r.normal(0, 4), .085 * S
    d.ellipse([x - s, y - s, x + s, y + s], fill=(255, 244, 170))


def indoors(r, im, d):
    S = SIZE * SS
    d.rectangle([0, 0, S, S], fill=vary(r, (226, 196, 158)))
    d.rectangle([0, int(.8 * S), S, S], fill=vary(r, (166, 112, 72)))
    x = (0.03 if r.random() < .5 else .67) * S + r.normal(0, 3)
    frame = (122, 80, 50)
    d.rectangle([x, .1 * S, x + .3 * S, .5 * S], fill=(168, 216, 250), outline=frame, width=3 * SS)
    d.line([x + .15 * S, .1 * S, x + .15 * S, .5 * S], fill=frame, width=2 * SS)
    d.line([x, .3 * S, x + .3 * S, .3 * S], fill=frame, width=2 * SS)


def background(r, im, d, t):
    if t["scene"]:
        dict(sky=sky, night=night, indoors=indoors)[t["scene"]](r, im, d)
    else:
        d.rectangle([0, 0, SIZE * SS, SIZE * SS], fill=vary(r, BACK[t["back"]], 5))


# ---- the person, from back to front

def stripes(r, p, t, shapes):
    if t.get("stripe_rgb"):
        for q in shapes:
            p.shape(q, vary(r, t["stripe_rgb"]), None, jit=.01)


def hair_behind(r, p, t, hc, hl):
    v = lambda: r.normal(0, .04)
    style = t["style"]
    if style == "long hair":
        p.shape([(-1.1, -.6), (0, -1.25), (1.1, -.6), (1.28 + v(), .6), (1.35 + v(), 1.9), (.8, 2.2), (-.8, 2.2),
                 (-1.35 + v(), 1.9), (-1.28 + v(), .6)], hc, hl)
        stripes(r, p, t, [[(s * 1.22, .3), (s * 1.0, .3), (s * 1.0, 1.9), (s * 1.26, 1.9)] for s in (-1, 1)])
    elif style == "bob cut":
        p.shape([(-1.1, -.5), (0, -1.25), (1.1, -.5), (1.3 + v(), .3), (1.22, .95), (.7, 1.05), (-.7, 1.05),
                 (-1.22, .95), (-1.3 + v(), .3)], hc, hl)
    elif style == "twintails":
        for s in (-1, 1):
            p.shape([(s * .95, -.75), (s * 1.42, -.95 + v()), (s * (1.8 + v()), -.2), (s * (1.76 + v()), .8),
                     (s * (1.5 + v()), 1.45), (s * 1.3, .6), (s * 1.22, -.1)], hc, hl)
            stripes(r, p, t, [[(s * 1.5, -.5), (s * 1.72, -.1), (s * 1.68, .8), (s * 1.5, .9), (s * 1.46, .1)]])
        p.shape([(-1.05, -.5), (0, -1.2), (1.05, -.5), (1.1, .3), (.8, .7), (-.8, .7), (-1.1, .3)], hc, hl)
    elif style == "ponytail":
        s = t["side"]
        p.shape([(s * .3, -1.1), (s * 1.0, -1.45 + v()), (s * (1.65 + v()), -.9), (s * (1.85 + v()), .1),
                 (s * (1.65 + v()), 1.1), (s * 1.4, .3), (s * 1.1, -.4)], hc, hl)
        p.shape([(-1.05, -.5), (0, -1.2), (1.05, -.5), (1.08, .3), (.8, .6), (-.8, .6), (-1.08, .3)], hc, hl)
    elif style == "short hair":
        p.shape([(-1.1, -.4), (0, -1.25), (1.1, -.4), (1.17, .25), (1.0, .6), (-1.0, .6), (-1.17, .25)], hc, hl)
    else:
        p.shape([(-1.08, -.4), (0, -1.15), (1.08, -.4), (1.08, .1), (.9, .35), (-.9, .35), (-1.08, .1)], hc, hl)


def body(r, p, t, sd, sl):
    sc = vary(r, SHIRT[t["shirt"]])
    sol = outline(sc, .5, .3)
    p.shape([(-.26, .7), (.26, .7), (.3, 1.5), (-.3, 1.5)], sd, sl, smooth=False)
    wd = 1.35 if t["girl"] else 1.6
    p.shape([(-.38, 1.33), (.38, 1.33), (wd * .75, 1.45), (wd, 1.8), (wd + .12, 3.4), (-wd - .12, 3.4), (-wd, 1.8),
             (-wd * .75, 1.45)], sc, sol)
    if t["top"] == "hoodie":
        p.shape([(-.75, 1.35), (0, 1.85), (.75, 1.35), (.55, 1.15), (-.55, 1.15)], shade(sc, .82), sol)
        p.shape([(-.26, 1.1), (.26, 1.1), (.12, 1.5), (-.12, 1.5)], sd, None, smooth=False)
        string = (250, 250, 250) if t["shirt"] != "white" else (130, 130, 140)
        for s in (-1, 1):
            p.stroke([(s * .2, 1.75), (s * .22, 2.3)], string, 1.6 * SS)
    elif t["top"] == "serafuku":
        collar = (45, 58, 120) if t["shirt"] != "blue" else (245, 245, 248)
        p.shape([(-.5, 1.3), (0, 2.0), (.5, 1.3), (.95, 1.5), (.5, 2.0), (0, 2.3), (-.5, 2.0), (-.95, 1.5)], collar, sol,
                smooth=False)
        p.shape([(-.3, 1.28), (.3, 1.28), (0, 1.85)], sd, None, smooth=False)
        p.shape([(0, 2.1), (-.4, 2.45), (-.1, 2.4), (0, 2.2), (.1, 2.4), (.4, 2.45)], (222, 45, 55), (120, 20, 30),
                smooth=False, w=SS)
    else:
        p.shape([(-.36, 1.3), (.36, 1.3), (.2, 1.55), (-.2, 1.55)], sd, sol)


def head(p, t, sk, sl):
    if t["style"] not in ("long hair", "bob cut"):
        for s in (-1, 1):
            p.disc(s * .97, .18, .15, .2, sk, sl)
    j = .98 if t["girl"] else 1.04
    p.shape([(0, -.95), (.7, -.72), (.95, -.05), (.8, .55), (.4, .9 * j), (0, 1.0 * j), (-.4, .9 * j), (-.8, .55),
             (-.95, -.05), (-.7, -.72)], sk, sl)
    if t["girl"]:
        for s in (-1, 1):
            p.disc(s * .58, .5, .17, .09, (255, 168, 160))


def eyes(r, p, t, ey):
    ew, eh = (.27, .34) if t["girl"] else (.24, .29)
    for s in (-1, 1):
        x = s * .43
        if t["expr"] == "closed eyes" and not (t.get("patch") and s == -1):
            p.stroke([(x - .24, ey + .02), (x, ey + .17), (x + .24, ey + .02)], EYE_LINE, 2.4 * SS)
            continue
        ec = vary(r, EYES[t["eyes2"] if s == 1 and t.get("eyes2") else t["eyes"]], 5)
        p.disc(x, ey, ew, eh, (255, 255, 255), EYE_LINE, 1.2 * SS)
        p.disc(x, ey + .03, ew * .8, eh * .88, ec)
        p.disc(x, ey + .04, ew * .36, eh * .42, shade(ec, .35))
        p.disc(x - .07, ey - .09, ew * .3, eh * .26, (255, 255, 255))
        p.stroke([(x - ew - .04, ey - eh * .55), (x, ey - eh * 1.08), (x + ew + .04, ey - eh * .55)], EYE_LINE,
                 (3.0 if t["girl"] else 2.2) * SS)


def expression(r, p, t, hc):
    b = -.36 + r.normal(0, .015)
    fr = .1 if t["expr"] == "frown" else -.03
    for s in (-1, 1):
        p.stroke([(s * .22, b - fr), (s * .43, b - .05), (s * .62, b + fr * .9)], shade(hc, .6),
                 (1.8 if t["girl"] else 2.8) * SS)
    if t["expr"] == "open mouth":
        p.shape([(-.22, .52), (.22, .52), (.15, .76), (0, .82), (-.15, .76)], (160, 40, 50), (96, 30, 38), w=1.2 * SS)
        p.disc(0, .73, .1, .05, (240, 120, 120))
    elif t["expr"] == "frown":
        p.stroke([(-.2, .74), (0, .61), (.2, .74)], MOUTH, 2 * SS)
    elif t["expr"] == "smile":
        p.stroke([(-.26, .58), (0, .72), (.26, .58)], MOUTH, 2 * SS)
    else:
        p.stroke([(-.13, .65), (0, .66), (.13, .65)], MOUTH, 1.8 * SS)
    if t.get("freckles"):
        for s in (-1, 1):
            for dx, dy in ((-.1, 0), (.02, .07), (.12, -.02)):
                p.disc(s * .58 + dx, .48 + dy, .035, .035, (170, 95, 60))


BLUNT = [(-1.1, .1), (-1.08, -.5), (-.6, -1.1), (0, -1.24), (.6, -1.1), (1.08, -.5), (1.1, .1), (.9, -.25), (.72, -.42),
         (.4, -.34), (.1, -.44), (-.2, -.34), (-.5, -.44), (-.78, -.36), (-.92, -.2)]
PARTED = [(-1.12, .35), (-1.08, -.5), (-.6, -1.1), (0, -1.24), (.6, -1.1), (1.08, -.5), (1.12, .35), (.95, .1), (.8, -.35),
          (.3, -.8), (.0, -.92), (-.3, -.8), (-.8, -.35), (-.95, .1)]
SPIKES = [(-1.08, .05), (-1.4, -.45), (-1.05, -.7), (-1.15, -1.3), (-.6, -1.15), (-.35, -1.65), (.0, -1.25), (.4, -1.65),
          (.6, -1.15), (1.15, -1.3), (1.05, -.7), (1.4, -.45), (1.08, .05), (.85, -.35), (.55, -.6), (.4, -.35), (.1, -.6),
          (-.15, -.35), (-.45, -.62), (-.75, -.35)]
BOYS = [(-1.1, .1), (-1.08, -.55), (-.6, -1.12), (0, -1.26), (.6, -1.12), (1.08, -.55), (1.1, .1), (.92, -.3), (.6, -.48),
        (.2, -.36), (-.1, -.56), (-.4, -.38), (-.7, -.55), (-.92, -.3)]


def fringe(r, p, t, hc, hl, hh):
    spiky = t["style"] == "spiky hair"
    q = (BLUNT if t["fringe"] else PARTED) if t["girl"] else SPIKES if spiky else BOYS
    p.shape(q, hc, hl, smooth=not spiky, jit=.02)
    if t.get("stripe_rgb"):
        stripes(r, p, t, [[(x - .1, -1.12 + abs(x) * .35), (x + .1, -1.12 + abs(x) * .35), (x * 1.15 + .09, -.48),
                           (x * 1.15 - .09, -.48)] for x in (-.72, -.28, .2, .66)])
    else:
        p.stroke([(-.62, -.78), (-.25, -.92), (.2, -.93)], hh, 2.6 * SS)


def accessory(r, p, t, hc, hl, ey):
    a = t["acc"]
    if a == "hat":
        c = vary(r, (60, 62, 140))
        p.shape([(-1.02, -.72), (-.85, -1.45), (0, -1.75), (.85, -1.45), (1.02, -.72)], c, shade(c, .4))
        p.shape([(-1.25, -.62), (0, -.86), (1.25, -.62), (1.15, -.48), (0, -.66), (-1.15, -.48)], shade(c, .8), shade(c, .4))
        p.stroke([(-.95, -.86), (0, -1.05), (.95, -.86)], (245, 205, 70), 3 * SS)
    elif a == "hair bow":
        x, y, c = t["side"] * .55, -1.12, (228, 40, 60)
        for s in (-1, 1):
            p.shape([(x, y), (x + s * .42, y - .3), (x + s * .5, y), (x + s * .42, y + .28)], c, (120, 15, 30), jit=.01)
        p.disc(x, y, .12, .12, c, (120, 15, 30))
    elif a == "horns":
        for s in (-1, 1):
            p.shape([(s * .42, -1.05), (s * .62, -1.55), (s * 1.0, -1.78), (s * .88, -1.4), (s * .8, -.9)],
                    (238, 226, 196), (110, 90, 70), jit=.01)
    elif a == "cat ears":
        for s in (-1, 1):
            p.shape([(s * .3, -1.08), (s * .82, -1.72), (s * 1.02, -.72)], hc, hl, smooth=False)
            p.shape([(s * .5, -1.1), (s * .79, -1.5), (s * .9, -.88)], (255, 178, 190), None, smooth=False)
    elif a == "sprout":
        p.stroke([(0, -1.2), (.02, -1.5)], (60, 130, 50), 2.4 * SS)
        for s in (-1, 1):
            p.shape([(0, -1.48), (s * .3, -1.85), (s * .58, -1.72), (s * .36, -1.46)], (98, 205, 80), (40, 100, 40), jit=.01)
    elif a == "glasses":
        frame = (60, 50, 110)
        for s in (-1, 1):
            p.disc(s * .43, ey, .36, .36, None, frame, 2.2 * SS)
        p.stroke([(-.08, ey), (.08, ey)], frame, 2 * SS)
        for s in (-1, 1):
            p.stroke([(s * .79, ey - .02), (s * .97, ey - .06)], frame, 2 * SS)
    if t.get("patch"):
        p.stroke([(-1.0, -.3), (-.43, ey), (.9, -.62)], (40, 36, 46), 1.6 * SS)
        angle = np.arange(10) * np.pi / 5 - np.pi / 2
        radius = np.where(np.arange(10) % 2 == 0, .46, .22)
        p.shape(np.c_[-.43 + radius * np.cos(angle), ey + radius * np.sin(angle)], (255, 206, 40), (130, 90, 10),
                smooth=False, jit=0)


def character(r, p, t):
    hc = vary(r, HAIR.get(t["hair"], t.get("hair_rgb")))
    hl, hh = outline(hc, .5, .35), shade(hc, 1.35)
    sk = vary(r, SKIN, 4)
    sl, sd = shade(sk, .55), shade(sk, .88)
    hair_behind(r, p, t, hc, hl)
    body(r, p.lifted(.14), t, sd, sl)
    head(p, t, sk, sl)
    ey = .13 + r.normal(0, .015)
    eyes(r, p, t, ey)
    expression(r, p, t, hc)
    fringe(r, p, t, hc, hl, hh)
    accessory(r, p, t, hc, hl, ey)


# ---- the general set

def traits(r):
    g = bool(r.random() < .7)
    pick = lambda q: q[int(r.integers(len(q)))]
    return dict(girl=g, hair=pick(list(HAIR)), eyes=pick(list(EYES)), shirt=pick(list(SHIRT)),
                style=pick(GIRL_STYLES if g else BOY_STYLES),
                top=pick(["shirt", "shirt", "hoodie", "serafuku"] if g else ["shirt", "shirt", "hoodie"]),
                acc=pick(ACCESSORIES) if r.random() < .5 else None, expr=pick(EXPRESSIONS),
                fringe=bool(r.random() < .6), side=pick([-1, 1]),
                scene=pick(SCENES) if r.random() < .33 else None, back=pick(list(BACK)))


def tags(t):
    o = ["1girl" if t["girl"] else "1boy", "solo", t["hair"] + " hair", t["style"], t["expr"]]
    if t["expr"] != "closed eyes":
        o.append(t["eyes"] + " eyes")
    o.append(t["shirt"] + (" hoodie" if t["top"] == "hoodie" else " shirt"))
    if t["top"] == "serafuku":
        o.append(t["top"])
    if t["girl"]:
        o.append("blunt bangs" if t["fringe"] else "parted bangs")
    if t["acc"]:
        o.append(t["acc"])
    scenes = {"sky": ["sky", "cloud"], "night": ["night", "moon"], "indoors": ["indoors", "window"]}
    return o + scenes.get(t["scene"], [t["back"] + " background"])


def picture(r, t):
    im = Image.new("RGB", (SIZE * SS, SIZE * SS))
    d = ImageDraw.Draw(im)
    background(r, im, d, t)
    R = 33 * r.uniform(.95, 1.05)
    character(r, Pen(r, d, 64 + r.normal(0, 1.8), 67 + r.normal(0, 1.5), R, r.normal(0, .035)), t)
    return im.resize((SIZE, SIZE), Image.BOX)


def example(seed):
    """-> picture, its tags in drawing order, traits"""
    r = np.random.default_rng([20, seed])
    t = traits(r)
    return np.asarray(picture(r, t)), ", ".join(tags(t)), t


def dataset(n, seed=0, workers=2):
    with ProcessPoolExecutor(workers) as ex:
        out = list(ex.map(example, range(seed, seed + n), chunksize=64))
    return np.stack([o[0] for o in out]), [o[1] for o in out], [o[2] for o in out]


# ---- new characters: what they always wear is not in their captions, so the identifier has to carry it

CHARACTERS = dict(
    iwl=dict(girl=True, hair="white", hair_rgb=(238, 240, 250), stripe_rgb=(40, 196, 205), style="twintails", eyes="red",
             eyes2="red", patch=True, fringe=True, side=1),
    nhh=dict(girl=False, hair="orange", hair_rgb=(250, 140, 40), style="short hair", eyes="blue", eyes2="red",
             acc="sprout", freckles=True, fringe=True, side=1))


def character_example(name, i):
    r = np.random.default_rng([21, sum(ord(c) << (8 * k) for k, c in enumerate(name)), i])
    t = traits(r)
    t.update(acc=None)
    t.update(CHARACTERS[name])
    if t["expr"] == "closed eyes":
        t["expr"] = "smile"
    if t["top"] == "serafuku" and not t["girl"]:
        t["top"] = "shirt"
    im = picture(r, t)
    hidden = {t["hair"] + " hair", t["style"], t["eyes"] + " eyes", "blunt bangs", "sprout"}
    o = [x for x in tags(t) if x not in hidden]
    rest = o[1:]
    r.shuffle(rest)
    return im, ", ".join([name, o[0]] + rest), t


def characters(root, n=16, repeats=10):
    for name, c in CHARACTERS.items():
        d = os.path.join(root, name, f"{repeats}_{name} {'1girl' if c['girl'] else '1boy'}")
        os.makedirs(d, exist_ok=True)
        for i in range(n):
            im, caption, _ = character_example(name, i)
            im.save(os.path.join(d, f"{name}_{i:02d}.png"), optimize=True)
            with open(os.path.join(d, f"{name}_{i:02d}.txt"), "w") as f:
                f.write(caption + "\n")


def sheet(ims, cols=8):
    rows = -(-len(ims) // cols)
    o = Image.new("RGB", (cols * SIZE, rows * SIZE))
    for i, x in enumerate(ims):
        o.paste(Image.fromarray(np.asarray(x)), ((i % cols) * SIZE, i // cols * SIZE))
    return o


def main(args):
    if args[0] == "sheet":
        ims = [example(i)[0] for i in range(int(args[2]) if len(args) > 2 else 40)]
        sheet(ims + [character_example(c, i)[0] for c in CHARACTERS for i in range(8)]).save(args[1])
    elif args[0] == "set":
        images, captions, t = dataset(int(args[2]), int(args[3]) if len(args) > 3 else 0)
        np.savez(args[1], images=images, captions=np.array(captions), traits=np.array([json.dumps(x) for x in t]))
    elif args[0] == "characters":
        characters(args[1])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
