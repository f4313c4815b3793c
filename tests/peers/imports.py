"""`lx import` of what the trackers themselves write: TensorBoard by torch, W&B offline, MLflow."""

import importlib.util
import json
import math
import os
import sys

import peers

os.chdir(peers.WORK)
LOSSES = [1 / (i + 1) for i in range(300)]


def has(name):
    there = importlib.util.find_spec(name) is not None
    if not there:
        print(f"skipped: {name}: not installed")
    return there


def imported(name, path):
    """The run of that name with its curves and flags, after importing twice."""
    peers.run_lx("import", path)
    again = peers.run_lx("import", path)
    peers.check(f"{name}: twice is once", again.splitlines()[-1].startswith("0 runs imported"))
    sql = lambda query: json.loads(peers.run_lx("sql", "--json", query))
    run = sql(f"SELECT * FROM runs WHERE name = '{name}'")[0]
    curves = {row["key"]: row for row in sql(f"SELECT * FROM curves WHERE run = '{run['id']}'")}
    flags = {row["key"]: row["value"]
             for row in sql(f"SELECT key, value FROM flags WHERE run = '{run['id']}'")}
    return run, curves, flags


def check_run(name, path, key="loss", dim="network_dim"):
    run, curves, flags = imported(name, path)
    loss = curves[key]
    peers.check(f"{name}: curve", loss["n"] == len(LOSSES)
                and math.isclose(loss["last_value"], LOSSES[-1], rel_tol=1e-6), str(loss))
    peers.check(f"{name}: flags", flags.get(dim) == 4 and flags.get("lr") == 1e-4, str(flags))
    peers.check(f"{name}: status", run["status"] == "finished", run["status"])


def tensorboard():
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter("tensorboard/of_torch")
    for i, loss in enumerate(LOSSES):
        writer.add_scalar("loss", loss, i + 1)
    writer.add_hparams({"lr": 1e-4, "network_dim": 4, "cache": True}, {"hparam/loss": 0.2})
    writer.close()
    check_run("of_torch", "tensorboard")


def wandb():
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true")
    import wandb

    run = wandb.init(project="loras", name="of_wandb", config={"network_dim": 4, "lr": 1e-4})
    for loss in LOSSES:
        run.log({"loss": loss, "text": "none of a curve"})
    run.finish()
    check_run("of_wandb", "wandb")


def mlflow(name, uri, path):
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("loras")
    with mlflow.start_run(run_name=name):
        mlflow.log_params({"network_dim": 4, "lr": 1e-4})
        for i, loss in enumerate(LOSSES):
            mlflow.log_metric("loss", loss, step=i + 1)
        mlflow.log_metric("bad", float("nan"), step=1)
    check_run(name, path)


def main():
    trackers = [name for name in ("tensorboard", "wandb", "mlflow") if has(name)]
    if not trackers:
        print("skipped: peers/imports: no tracker is installed (tests/peers/README.md)")
        sys.exit(77)
    if "tensorboard" in trackers:
        tensorboard()
    if "wandb" in trackers:
        wandb()
    if "mlflow" in trackers:
        mlflow("of_files", f"file://{peers.WORK}/mlruns", "mlruns")
        if has("sqlalchemy"):
            mlflow("of_sqlite", f"sqlite:///{peers.WORK}/mlflow.db", "mlflow.db")
    peers.run_lx("fsck")
    peers.finish()


main()
