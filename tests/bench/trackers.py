#!/usr/bin/env python3
"""trackers.py BUILD [POINTS] - what recording costs: lx beside MLflow, W&B offline and TensorBoard, in one run

The same curves (a noisy loss that was an f32, its running mean, a cosine learning rate, a gradient norm) are
written by each from this Python, a step at a time and, where there is a call for it, all at once; MLflow gets
fewer points, for it is slow. Sizes are those of all files, less what an empty run has. Only lx promises that a point
survives a power cut a second later; MLflow's SQLite commits, the others leave it to the system.
What is not installed is left out by name. BUILD is lx's build folder (build/release)."""
import ctypes
import importlib.util
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release").resolve()
points = int(sys.argv[2]) if len(sys.argv) > 2 else 400_000
work = pathlib.Path(tempfile.mkdtemp(prefix="lx-trackers-"))
os.chdir(work)
KEYS = ("loss", "loss/average", "lr/unet", "grad_norm")


def curves(steps):
    """One list of values a key."""
    draw = random.Random(1)
    single = lambda x: struct.unpack("f", struct.pack("f", x))[0]
    loss = [single((0.08 + 0.06 * math.exp(-5 * i / steps)) * math.exp(0.35 * draw.gauss(0, 1))) for i in range(steps)]
    mean, total = [], 0.0
    for i, x in enumerate(loss):
        total += x - (loss[i - 40] if i >= 40 else 0)
        mean.append(total / min(i + 1, 40))
    rate = [1e-4 * 0.5 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)]
    norm = [single(0.02 * math.exp(0.5 * draw.gauss(0, 1))) for _ in range(steps)]
    return loss, mean, rate, norm


def size(folder):
    return sum(f.stat().st_size for f in pathlib.Path(folder).rglob("*") if f.is_file())


def measure(name, n, record, folder):
    """record(steps, values) makes a run in an empty folder."""
    steps = n // len(KEYS)
    values = curves(steps)
    sizes = [0]
    for _ in range(2):  # what a run without points costs: the second, for the first makes the store
        record(1, curves(1))
        sizes.append(size(folder))
    start = time.perf_counter()
    record(steps, values)
    seconds = time.perf_counter() - start
    used = size(folder) - sizes[2] - (sizes[2] - sizes[1])
    told = (name, f"{steps * len(KEYS):,}", f"{steps * len(KEYS) / seconds:,.0f}", f"{seconds / steps * 1e6:,.1f}",
            f"{used / (steps * len(KEYS)):.1f}")
    print("| {:38} | {:>9} | {:>10} | {:>12} | {:>13} |".format(*told), flush=True)


# ---- lx ------------------------------------------------------------------------------------------------------

class Start(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ("name", "kind", "command_line", "flags", "work_dir")]


def lx_library():
    library = ctypes.CDLL(str(next(build.glob("liblx_store.so"))))
    library.lxs_log.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_double, ctypes.c_void_p]
    library.lxs_log_many.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64,
                                     ctypes.c_void_p]
    library.lxs_end.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
    return library


def lx_run(library, folder):
    run = ctypes.c_void_p()
    start = Start(b"bench", b"train", None, b'{"network_dim":4}', None)
    assert library.lxs_begin(ctypes.byref(run), folder.encode(), ctypes.byref(start), None) == 0
    return run


def lx_steps(steps, values):
    library, keys = lx_library(), [k.encode() for k in KEYS]
    run, log = lx_run(library, "lx-steps"), library.lxs_log
    for i in range(steps):
        for key, curve in zip(keys, values):
            log(run, key, i + 1, curve[i], None)
    assert library.lxs_end(run, b"finished", None, None) == 0


def lx_batch(steps, values):
    library = lx_library()
    run, numbers = lx_run(library, "lx-batch"), (ctypes.c_int64 * steps)(*range(1, steps + 1))
    for key, curve in zip(KEYS, values):
        assert library.lxs_log_many(run, key.encode(), numbers, (ctypes.c_double * steps)(*curve), steps, None) == 0
    assert library.lxs_end(run, b"finished", None, None) == 0


def lx_pipe(steps, values):
    lx = subprocess.Popen([build / "lx", "--store", "lx-pipe", "log", "--new", "bench", "-"], stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.DEVNULL)
    for i in range(steps):
        lx.stdin.write(f"step={i + 1} " + " ".join(f"{k}={c[i]!r}" for k, c in zip(KEYS, values)) + "\n")
    lx.stdin.close()
    assert lx.wait() == 0


# ---- the others ----------------------------------------------------------------------------------------------

def tensorboard(steps, values):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter("tensorboard")
    for i in range(steps):
        for key, curve in zip(KEYS, values):  # as torch's add_scalar
            writer.add_event(Event(wall_time=time.time(), step=i + 1,
                                   summary=Summary(value=[Summary.Value(tag=key, simple_value=curve[i])])))
    writer.close()


def wandb_offline(steps, values):
    import wandb

    run = wandb.init(project="bench", dir=str(work), mode="offline", settings=wandb.Settings(silent=True, console="off",
                     x_disable_stats=True, x_disable_meta=True))
    for i in range(steps):
        run.log({key: curve[i] for key, curve in zip(KEYS, values)}, step=i + 1)
    run.finish()


def mlflow_client(uri):
    import logging

    if uri.startswith("sqlite"):
        pathlib.Path(uri.removeprefix("sqlite:///")).parent.mkdir(exist_ok=True)

    from mlflow.tracking import MlflowClient

    logging.disable(logging.WARNING)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("bench")
    return client, client.create_run(experiment.experiment_id if experiment else client.create_experiment("bench")).info.run_id


def mlflow_steps(uri):
    def record(steps, values):
        client, run = mlflow_client(uri)
        for i in range(steps):
            for key, curve in zip(KEYS, values):
                client.log_metric(run, key.replace("/", "."), curve[i], step=i + 1)
        client.set_terminated(run)
    return record


def mlflow_batches(uri):
    def record(steps, values):
        from mlflow.entities import Metric

        client, run = mlflow_client(uri)
        now = int(time.time() * 1000)
        for i in range(0, steps, 250):
            client.log_batch(run, metrics=[Metric(key.replace("/", "."), curve[k], now, k + 1)
                                           for k in range(i, min(i + 250, steps)) for key, curve in zip(KEYS, values)])
        client.set_terminated(run)
    return record


def has(module, name):
    there = importlib.util.find_spec(module) is not None
    if not there:
        print(f"left out: {name} is not installed")
    return there


print("| {:38} | {:>9} | {:>10} | {:>12} | {:>13} |".format("", "points", "points/s", "us of a step", "bytes a point"))
print(f"|{'-' * 40}|{'-' * 10}:|{'-' * 11}:|{'-' * 13}:|{'-' * 14}:|")
try:
    measure("lx, lx_store.h: a step at a time", points, lx_steps, "lx-steps")
    measure("lx, lx_store.h: all at once", points, lx_batch, "lx-batch")
    measure("lx log, lines through a pipe", points, lx_pipe, "lx-pipe")
    if has("tensorboard", "TensorBoard"):
        measure("TensorBoard: a step at a time", points, tensorboard, "tensorboard")
    if has("wandb", "W&B"):
        measure("W&B offline: a step at a time", points // 4, wandb_offline, "wandb")
    if has("mlflow", "MLflow"):
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        here = {"files": f"file:{work}/", "SQLite": f"sqlite:///{work}/"}
        if not has("sqlalchemy", "MLflow with SQLite"):
            del here["SQLite"]
        for kind, uri in here.items():
            end = "/mlflow.db" if kind == "SQLite" else ""
            measure(f"MLflow, {kind}: a step at a time", points // 100, mlflow_steps(f"{uri}{kind}-steps{end}"),
                    f"{kind}-steps")
            measure(f"MLflow, {kind}: in batches of 1,000", points // 10, mlflow_batches(f"{uri}{kind}-batches{end}"),
                    f"{kind}-batches")
finally:
    shutil.rmtree(work, ignore_errors=True)
