"""Makes stats.json: statistics by numpy, scipy and arch, for tests/unit/stats.

    python make.py > stats.json        (numpy 2.4.6, scipy 1.17.1, arch 8.0.0)

The intervals of the bootstrap are made here again from their description: Philox4x32-10 as
src/base/rng.h names its streams, blocks that go round the end, numpy's quantiles. The standard
errors beside them are arch's own, from other random numbers.
"""
import json
import sys

import numpy as np
import scipy.stats
from arch.bootstrap import CircularBlockBootstrap, optimal_block_length

M = 0xFFFFFFFF


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & M, (p0 >> 32) ^ c[3] ^ k[1], p0 & M]
        k = [(k[0] + 0x9E3779B9) & M, (k[1] + 0xBB67AE85) & M]
    return c


class Stream:
    def __init__(self, seed, purpose, step, sample):
        self.key = (seed & M, seed >> 32)
        self.name = (purpose, step, sample)
        self.block, self.words = 0, []

    def u32(self):
        if not self.words:
            self.words = philox((self.block,) + self.name, self.key)
            self.block += 1
        return self.words.pop(0)

    def below(self, n):  # Lemire's, unbiased
        while True:
            x = self.u32() * n
            if x & M >= 2**32 % n:
                return x >> 32


def drawn_means(x, block, seed, stream, draws=2000):
    n, means = len(x), []
    for draw in range(draws):
        rng, taken = Stream(seed, 13, draw, stream), []
        while len(taken) < n:
            at = rng.below(n)
            taken += [x[(at + i) % n] for i in range(min(block, n - len(taken)))]
        means.append(sum(taken) / n)
    return np.array(means)


def ar1(rng, n, phi, scale=1.0, mean=0.0):
    x, out = 0.0, []
    for e in rng.normal(size=n):
        x = phi * x + e
        out.append(round(mean + scale * x, 6))
    return out


def interval(means):
    low, high = np.quantile(means, [0.025, 0.975])
    return {"low": low, "high": high, "se": np.std(means, ddof=1)}


def length_of(x):
    return int(np.floor(max(1.0, float(optimal_block_length(np.array(x))["circular"].iloc[0])) + 0.5))


def curve(rng, n, phi, mean):
    x = ar1(rng, n, phi, 0.02, mean)
    block = length_of(x)
    peer = CircularBlockBootstrap(block, np.array(x), seed=1)
    return {"x": x, "mean": float(np.mean(x)), "block": block,
            **interval(drawn_means(x, block, 7, 1)),
            "arch_se": float(np.sqrt(peer.cov(np.mean, reps=4000)[0, 0]))}


def correlation(x, y):
    n, rho = len(x), float(scipy.stats.spearmanr(x, y).statistic)
    reach = scipy.stats.norm.ppf(0.975) * np.sqrt((1 + rho * rho / 2) / (n - 3))
    return {"x": x, "y": y, "rho": rho, "ranks": list(scipy.stats.rankdata(x)),
            "pearson": float(scipy.stats.pearsonr(x, y).statistic),
            "low": float(np.tanh(np.arctanh(rho) - reach)),
            "high": float(np.tanh(np.arctanh(rho) + reach))}


def main():
    rng = np.random.default_rng(20261125)
    curves = [curve(rng, n, phi, 0.1) for n, phi in ((120, 0.0), (200, 0.7), (150, -0.3))]
    a, b = curves[0], curves[1]
    difference = drawn_means(a["x"], a["block"], 7, 1) - drawn_means(b["x"], b["block"], 7, 2)
    x = [float(v) for v in rng.integers(1, 6, 24)]
    y = [round(float(v), 4) for v in np.array(x) * -0.4 + rng.normal(size=24)]
    smooth, s = [], 0.0
    for i, v in enumerate(a["x"][:40], 1):
        s = 0.9 * s + (1 - 0.9) * v
        smooth.append(s / (1 - 0.9**i))
    json.dump({"curves": curves,
               "difference": {"mean": a["mean"] - b["mean"], **interval(difference)},
               "correlations": [correlation(x, y), correlation(list(range(6)), [3, 1, 4, 1, 5, 9])],
               "smooth": smooth}, sys.stdout, separators=(",", ":"))
    print()


main()
