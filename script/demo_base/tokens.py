"""Captions to CLIP token ids, by `lx debug tokens` (LX names the program, else build/release/lx)."""
import json
import os
import subprocess

import numpy as np

LX = os.environ.get("LX") or os.path.join(os.path.dirname(__file__), "../../build/release/lx")
VOCABULARY, LENGTH, BEGIN, END = 49408, 77, 49406, 49407


def tokenize(captions):
    """-> int64 [N, 77]"""
    lines = "".join(json.dumps(c) + "\n" for c in captions)
    out = subprocess.run([LX, "debug", "tokens"], input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout
    return np.array([json.loads(line)[0] for line in out.splitlines()], dtype=np.int64)


class TagTokens:
    """Token ids of whole tags; BPE never reaches over a comma, so a caption is its tags' ids with commas between."""

    def __init__(self, tags):
        self.tags = sorted(tags)
        rows = tokenize(self.tags + [","])
        self.ids = {t: [i for i in row[1:] if i != END] for t, row in zip(self.tags + [","], rows.tolist())}
        self.used = sorted({i for v in self.ids.values() for i in v} | {BEGIN, END})

    def row(self, parts):
        """parts: tags, or lists of raw ids"""
        out = [BEGIN]
        for n, part in enumerate(parts):
            if n: out += self.ids[","]
            out += self.ids[part] if isinstance(part, str) else part
        assert len(out) < LENGTH
        return out + [END] * (LENGTH - len(out))
