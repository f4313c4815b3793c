#!/usr/bin/env python3
"""Writes paired.json: what SciPy makes of small samples. SciPy 1.17.1, NumPy 2.4.6."""
import itertools
import json
import pathlib

import numpy as np
from scipy import stats


def sign_flips(x):
    """p of all 2^n patterns: greater, and two-sided."""
    sums = np.array([np.dot(s, x) for s in itertools.product((1, -1), repeat=len(x))])
    slack = 1e-12 * np.abs(x).sum()
    return [float((sums >= x.sum() - slack).mean()),
            float((np.abs(sums) >= abs(x.sum()) - slack).mean())]


def all_splits(x, y):
    """p of mean(x) > mean(y) over all splits of the pool."""
    pool = np.concatenate([x, y])
    sums = np.array([pool[list(c)].sum() for c in itertools.combinations(range(len(pool)), len(x))])
    return float((sums >= x.sum() - 1e-12).mean())


rng = np.random.default_rng(5)
samples = []
for n, mean in ((5, 1.0), (7, 0.2), (10, 0.5), (16, -0.1)):
    x = np.round(rng.normal(mean, 1, n), 3)
    low, high = stats.t.interval(0.95, n - 1, x.mean(), stats.sem(x))
    samples.append({"x": x.tolist(), "mean": x.mean(), "sd": x.std(ddof=1), "t_interval": [low, high],
                    "sign_flip": sign_flips(x)})

skewed = np.round(rng.exponential(1, 24), 3)
boot = stats.bootstrap((skewed,), np.mean, n_resamples=20000, method="BCa", random_state=1)
x, y = np.round(rng.normal(1, 1, 6), 3), np.round(rng.normal(0, 1, 5), 3)
p = [0.001, 0.04, 0.03, 0.005, 0.7]
order = np.argsort(p)
holm = np.empty(len(p))
holm[order] = np.minimum(1, np.maximum.accumulate(np.array(p)[order] * (len(p) - np.arange(len(p)))))
golden = {
    "student": [{"t": t, "df": df, "cdf": float(stats.t.cdf(t, df))}
                for t, df in ((0.3, 1), (-2.5, 3), (1.96, 12), (8.0, 2), (0.0, 7), (-0.01, 200))],
    "quantiles": [{"p": q, "df": df, "t": float(stats.t.ppf(q, df))}
                  for q, df in ((0.975, 1), (0.975, 7), (0.05, 30), (0.5, 4), (0.9999, 3))],
    "samples": samples,
    "skewed": skewed.tolist(),
    "skewed_bca": [float(boot.confidence_interval.low), float(boot.confidence_interval.high)],
    "two_x": x.tolist(), "two_y": y.tolist(), "two_p": all_splits(x, y),
    "p": p, "holm": holm.tolist(), "bh": stats.false_discovery_control(p).tolist(),
}
(pathlib.Path(__file__).parent / "paired.json").write_text(json.dumps(golden, indent=1) + "\n")
