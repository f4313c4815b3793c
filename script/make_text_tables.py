#!/usr/bin/env python3
"""Makes the tables of src/text (*.inc). Not needed to build lx: the tables are checked in.

    python3.11 -m venv v && v/bin/pip install ftfy==6.1.1 regex
    v/bin/python script/make_text_tables.py FOLDER_WITH_MERGES_AND_VOCAB

Python 3.11 matters: its unicodedata is Unicode 14.0, and lower-casing, normalisation and what is
a letter decide which token a caption becomes. The tables pin that, whatever the system has.
"""
import html
import json
import pathlib
import re
import sys
import unicodedata

import regex
from ftfy import badness, chardata

OUT = pathlib.Path(__file__).resolve().parent.parent / "src" / "text"
ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
NOTE = "/* Made by script/make_text_tables.py; do not edit. %s */\n"


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def wrap(items, per_line=None):
    lines, line = [], ""
    for item in items:
        if len(line) + len(item) + 2 > 92:
            lines.append(line)
            line = ""
        line += (" " if line else "    ") + item + ","
    return "\n".join(lines + [line]) + "\n"


def emit_ranges(f, name, points):
    rows = ranges(points)
    f.write(f"static const struct range {name}[] = {{\n")
    f.write(wrap("{0x%X, 0x%X}" % (a, b) for a, b in rows))
    f.write("};\n")


def unicode_tables():
    letter = regex.compile(r"[\p{L}]", regex.IGNORECASE)
    number = regex.compile(r"[\p{N}]", regex.IGNORECASE)
    space = regex.compile(r"\s", regex.IGNORECASE)
    other = regex.compile(r"[^\s\p{L}\p{N}]", regex.IGNORECASE)
    L = {c for c in ALL if letter.fullmatch(chr(c))}
    N = {c for c in ALL if number.fullmatch(chr(c))}
    S = {c for c in ALL if space.fullmatch(chr(c))}
    O = {c for c in ALL if other.fullmatch(chr(c))}
    # U+0345 folds to a letter, so that ignoring case it is neither; the code knows.
    assert [c for c in ALL if ((c in O) == (c in L or c in N or c in S))] == [0x345]
    L.discard(0x345)
    with open(OUT / "unicode_tables.inc", "w") as f:
        f.write(NOTE % f"Unicode {unicodedata.unidata_version}, regex {regex.__version__}.")
        emit_ranges(f, "letters", L)
        emit_ranges(f, "numbers", N)
        emit_ranges(f, "decimals", [c for c in ALL if re.match(r"\d", chr(c))])
        emit_ranges(f, "words", [c for c in ALL if re.match(r"\w", chr(c))])
        # Cased and Case_Ignorable as str.lower() sees them around a capital sigma.
        sigma = "\u03a3"
        cased = {c for c in ALL if (chr(c) + sigma).lower().endswith("\u03c2")}
        skipped = {c for c in ALL
                   if ("A" + chr(c) + sigma).lower().endswith("\u03c2") and c not in cased}
        emit_ranges(f, "cased", cased)
        emit_ranges(f, "case_ignorable", skipped)

        rows = []
        for c in ALL:
            low = chr(c).lower()
            if low == chr(c) or c in (0x130, 0x3A3):
                continue
            assert len(low) == 1
            delta = ord(low) - c
            if rows and rows[-1][3] == delta and rows[-1][2] in (0, 1) and rows[-1][1] == c - 1:
                rows[-1][1:3] = [c, 1]
            elif rows and rows[-1][3] == delta and rows[-1][2] in (0, 2) and rows[-1][1] == c - 2:
                rows[-1][1:3] = [c, 2]
            else:
                rows.append([c, c, 0, delta])
        f.write("/* first, last, step, delta; U+0130 and the sigma are in the code */\n")
        f.write("static const struct lower_range lowers[] = {\n")
        f.write(wrap("{0x%X, 0x%X, %d, %d}" % (a, b, max(s, 1), d) for a, b, s, d in rows))
        f.write("};\n")

        ccc = {}
        for c in ALL:
            if unicodedata.combining(chr(c)):
                ccc.setdefault(unicodedata.combining(chr(c)), []).append(c)
        rows = sorted((a, b, k) for k, v in ccc.items() for a, b in ranges(v))
        f.write("/* canonical combining classes */\nstatic const struct ccc_range cccs[] = {\n")
        f.write(wrap("{0x%X, 0x%X, %d}" % r for r in rows))
        f.write("};\n")
        single, pairs = [], []
        for c in ALL:
            d = unicodedata.decomposition(chr(c))
            if not d or d.startswith("<"):
                continue
            d = [int(x, 16) for x in d.split()]
            single.append((c, d[0], d[1] if len(d) == 2 else 0))
            if len(d) == 2 and unicodedata.normalize("NFC", chr(d[0]) + chr(d[1])) == chr(c):
                pairs.append((d[0], d[1], c))
        f.write("/* canonical decompositions, one step; Hangul is computed */\n")
        f.write("static const uint32_t decompositions[][3] = {\n")
        f.write(wrap("{0x%X, 0x%X, 0x%X}" % r for r in single))
        f.write("};\n/* primary composites by their two parts */\n")
        f.write("static const uint32_t compositions[][3] = {\n")
        f.write(wrap("{0x%X, 0x%X, 0x%X}" % r for r in sorted(pairs)))
        f.write("};\n")


def mojibake_tables():
    masks = {}

    def add(bit, spec):
        pattern = re.compile("[" + spec + "]")
        for c in range(0x10000):
            if not 0xD800 <= c < 0xE000 and pattern.match(chr(c)):
                masks[c] = masks.get(c, 0) | 1 << bit

    names = ["common", "c1", "bad", "currency", "start_punctuation", "end_punctuation",
             "numeric", "kaomoji", "upper_accented", "lower_accented", "upper_common",
             "lower_common", "box"]
    for bit, name in enumerate(names):
        add(bit, badness.MOJIBAKE_CATEGORIES[name])
    clues = ["utf8_first_of_2", "utf8_first_of_3", "utf8_first_of_4", "utf8_continuation",
             "utf8_continuation_strict"]
    for bit, name in enumerate(clues, len(names)):
        add(bit, chardata.UTF8_CLUES[name])
    rows = []
    for c in sorted(masks):
        if rows and rows[-1][1] == c - 1 and rows[-1][2] == masks[c]:
            rows[-1][1] = c
        else:
            rows.append([c, c, masks[c]])
    with open(OUT / "mojibake_tables.inc", "w") as f:
        f.write(NOTE % "After the character classes of ftfy 6.1.1 (MIT).")
        f.write("/* bits, from 0: %s,\n * %s */\n" % (", ".join(names), ", ".join(clues)))
        f.write("static const struct class_range classes[] = {\n")
        f.write(wrap("{0x%X, 0x%X, 0x%X}" % tuple(r) for r in rows))
        f.write("};\n/* bytes 0x80..0xFF of each encoding */\n")
        f.write("static const struct charmap charmaps[] = {\n")
        for name in chardata.CHARMAP_ENCODINGS:
            high = bytes(range(128, 256)).decode(name)
            assert len(set(high)) == 128
            assert bytes(range(128)).decode(name).replace("\ufffd", "\x1a") == "".join(
                map(chr, range(128)))
            f.write('    {"%s", %s,\n     {' % (name, str(name.startswith("sloppy")).lower()))
            f.write(wrap("0x%X" % ord(c) for c in high).strip().rstrip(",") + "}},\n")
        f.write("};\n")
    with open(OUT / "widths.inc", "w") as f:
        f.write(NOTE % "Halfwidth and fullwidth forms U+FF01..U+FFEF; 0 = stays.")
        rows = []
        for c in range(0xFF01, 0xFFF0):
            w = unicodedata.normalize("NFKC", chr(c))
            assert len(w) <= 2
            rows.append("{0x%X, 0x%X}" % (0 if w == chr(c) else ord(w[0]),
                                        ord(w[1]) if len(w) > 1 else 0))
        f.write(wrap(rows))


def entity_tables():
    with open(OUT / "entities.inc", "w") as f:
        f.write(NOTE % "HTML5 names, and upper-cased ones that mean one thing. By name.")
        f.write("static const struct entity entities[] = {\n")
        rows = []
        for name, value in sorted(chardata.HTML_ENTITIES.items(), key=lambda item: item[0][1:-1]):
            assert len(value) <= 3 and name[0] == "&" and name[-1] == ";"
            points = [ord(c) for c in value] + [0, 0]
            rows.append('{"%s", {0x%X, 0x%X, 0x%X}}' % (name[1:-1], *points[:3]))
        f.write(wrap(rows) + "};\n")


def merge_tables(folder):
    vocab = json.loads((folder / "vocab.json").read_text("utf-8"))
    lines = (folder / "merges.txt").read_text("utf-8").strip().split("\n")
    merges = [tuple(m.split()) for m in lines[1:49152 - 256 - 2 + 1]]
    assert len(merges) == 48894
    ids = {}
    visible = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in visible]
    text = [chr(b) for b in visible] + [chr(256 + i) for i in range(len(rest))]
    for i, t in enumerate(text):
        ids[t], ids[t + "</w>"] = i, 256 + i
    rows = []
    for i, (a, b) in enumerate(merges):
        rows.append("{%d, %d}" % (ids[a], ids[b]))
        assert a + b not in ids
        ids[a + b] = 512 + i
    ids["<|startoftext|>"], ids["<|endoftext|>"] = 49406, 49407
    assert ids == vocab
    with open(OUT / "merges.inc", "w") as f:
        f.write(NOTE % "The two parts of token 512 + i, from OpenAI's CLIP vocabulary (MIT).")
        f.write("static const uint16_t merges[N_MERGES][2] = {\n")
        f.write(wrap(row.replace(" ", "") for row in rows).replace("    ", "").replace(", ", ","))
        f.write("};\n")


unicode_tables()
mojibake_tables()
entity_tables()
merge_tables(pathlib.Path(sys.argv[1]))
