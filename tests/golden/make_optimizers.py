"""Makes tests/golden/train/optimizers.json: a few updates by the packages that sd-scripts calls.

    python tests/golden/make_optimizers.py > tests/golden/train/optimizers.json

Needs torch, dadaptation 3.2, prodigyopt 1.1.2, lion-pytorch 0.2.3, schedulefree 1.4.1, transformers.
Two tensors, [3, 4] and [5], start at value(i); update k has the gradients grad(k, i): formulas that the
test has too, so that only names, options and the values after the last update are in the file.
"""
import json
import math
import sys

import dadaptation
import dadaptation.experimental as experimental
import lion_pytorch
import prodigyopt
import schedulefree
import torch
from transformers.optimization import Adafactor

UPDATES = 12
CASES = [
    ("DAdaptAdam", dadaptation.DAdaptAdam, 1.0, {}),
    ("DAdaptAdam", dadaptation.DAdaptAdam, 1.0,
     dict(decouple=True, weight_decay=0.1, use_bias_correction=True, betas=(0.8, 0.95), d0=1e-3)),
    ("DAdaptAdam", dadaptation.DAdaptAdam, 0.5, dict(weight_decay=0.1, growth_rate=1.02, d0=1e-2)),
    ("DAdaptAdamPreprint", experimental.DAdaptAdamPreprint, 1.0, {}),
    ("DAdaptAdamPreprint", experimental.DAdaptAdamPreprint, 1.0,
     dict(decouple=True, weight_decay=0.1, betas=(0.8, 0.95))),
    ("DAdaptAdaGrad", dadaptation.DAdaptAdaGrad, 1.0, {}),
    ("DAdaptAdaGrad", dadaptation.DAdaptAdaGrad, 1.0, dict(momentum=0.9, weight_decay=0.01)),
    ("DAdaptAdan", dadaptation.DAdaptAdan, 1.0, {}),
    ("DAdaptAdan", dadaptation.DAdaptAdan, 1.0, dict(no_prox=True, weight_decay=0.5)),
    ("DAdaptAdanIP", experimental.DAdaptAdanIP, 1.0, {}),
    ("DAdaptAdanIP", experimental.DAdaptAdanIP, 1.0, dict(betas=(0.9, 0.8, 0.95), weight_decay=0.1)),
    ("DAdaptLion", dadaptation.DAdaptLion, 1.0, {}),
    ("DAdaptLion", dadaptation.DAdaptLion, 1.0, dict(weight_decay=0.1, d0=1e-2)),
    ("DAdaptSGD", dadaptation.DAdaptSGD, 1.0, {}),
    ("DAdaptSGD", dadaptation.DAdaptSGD, 1.0, dict(momentum=0.9, weight_decay=0.01)),
    ("Prodigy", prodigyopt.Prodigy, 1.0, dict(decouple=False, weight_decay=0.1, beta3=0.9)),
    ("Prodigy", prodigyopt.Prodigy, 1.0, dict(growth_rate=1.05, d0=1e-3, d_coef=0.5)),
    ("Lion", lion_pytorch.Lion, 1e-3, dict(weight_decay=0.1, decoupled_weight_decay=True)),
    ("AdamWScheduleFree", schedulefree.AdamWScheduleFree, 1e-2,
     dict(warmup_steps=4, weight_decay=0.1, r=0.5)),
    ("RAdamScheduleFree", schedulefree.RAdamScheduleFree, 1e-2, dict(weight_decay=0.1)),
    ("RAdamScheduleFree", schedulefree.RAdamScheduleFree, 1e-2,
     dict(silent_sgd_phase=False, betas=(0.8, 0.95), r=0.5)),
    ("SGDScheduleFree", schedulefree.SGDScheduleFree, 1e-1, dict(warmup_steps=4, weight_decay=0.1)),
    ("SGDScheduleFree", schedulefree.SGDScheduleFree, 1e-1, dict(momentum=0.7, weight_lr_power=1)),
    ("Adafactor", Adafactor, 1e-2,
     dict(relative_step=False, beta1=0.9, weight_decay=0.1, clip_threshold=0.5)),
    ("Adafactor", Adafactor, None, dict(relative_step=True, warmup_init=True)),
    ("SGDNesterov", torch.optim.SGD, 1e-2, dict(momentum=0.8, weight_decay=0.1, nesterov=True)),
]


def value(n, of):
    return torch.tensor([math.sin(1.3 * i + of) for i in range(n)], dtype=torch.float64).float()


def grad(n, of, k):
    return torch.tensor([math.sin(0.15 * k + i + of) * 10 ** (i % 3 - 2) for i in range(n)],
                        dtype=torch.float64).float()


def literal(v):
    return ",".join(map(str, v)) if isinstance(v, tuple) else str(v)


stdout, sys.stdout = sys.stdout, sys.stderr  # some packages print
out = []
for name, make, lr, options in CASES:
    p = [torch.nn.Parameter(value(12, 0).reshape(3, 4)), torch.nn.Parameter(value(5, 1))]
    o = make(p, lr=lr, **options)
    if hasattr(o, "train"):
        o.train()
    for k in range(UPDATES):
        for i, t in enumerate(p):
            t.grad = grad(t.numel(), i, k).reshape(t.shape)
        o.step()
    if hasattr(o, "eval"):
        o.eval()
    out.append({
        "optimizer": name, "lr": lr or 0,
        "options": [f"{k}={literal(v)}" for k, v in options.items() if k != "nesterov"],
        "d": float(o.param_groups[0].get("d", 1.0)),
        "values": [[round(x, 9) for x in t.detach().flatten().tolist()] for t in p],
    })
json.dump({"updates": UPDATES, "torch": torch.__version__, "cases": out}, stdout)
stdout.write("\n")
