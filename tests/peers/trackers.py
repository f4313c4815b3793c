"""What `lx export` writes for TensorBoard and MLflow, read by their own code, against the JSON export."""

import json
import math
import os
import pathlib
import struct
import subprocess
import sys

LX = os.environ["LX"]
WORK = pathlib.Path(os.environ["WORK"])
failed = []


def check(name, good, what):
    print(f"{'ok  ' if good else 'FAIL'} {name}: {what}")
    if not good:
        failed.append(name)


def lx(*words):
    return subprocess.run([LX, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def same(a, b):
    """null of JSON is NaN."""
    a = math.nan if a is None else a
    return a == b or (math.isnan(a) and math.isnan(b))


def single(x):
    return math.nan if x is None else struct.unpack("f", struct.pack("f", x))[0]


for name, hostile in (("hifumi", []), ("second", []), ("bad", ["hostile"])):
    subprocess.run([os.environ["MAKE_RUN"], os.environ["LX_STORE"], os.environ["DATA"], name, *hostile],
                   check=True)
# Names that are a folder of others or lead out of one; no files.
lx("log", "--new", "odd", "--flag", "a=1", "--flag", "a/b=true", "--flag", "../up=2", "loss=1", "loss/average=2",
   "../up=3", "--end", "finished")
runs = json.loads(lx("export", "--all", "--format", "json"))["runs"]
by_id = {run["id"]: run for run in runs}

# ---- TensorBoard ---------------------------------------------------------------------------

from tensorboard.backend.event_processing import event_accumulator, event_multiplexer
from tensorboard.plugins.hparams import metadata as hparams_metadata

lx("export", "--all", "--format", "tensorboard", "-o", str(WORK / "tb"), "--quiet")
multiplexer = event_multiplexer.EventMultiplexer(
    size_guidance={event_accumulator.SCALARS: 0, event_accumulator.IMAGES: 0,
                   event_accumulator.TENSORS: 0})
multiplexer.AddRunsFromDirectory(str(WORK / "tb"))
multiplexer.Reload()
check("tensorboard runs", len(multiplexer.Runs()) == len(runs), sorted(multiplexer.Runs()))
for run in runs:
    if run["name"] not in ("hifumi", "second"):
        continue
    seen = multiplexer.GetAccumulator(run["name"])
    for key, curve in run["curves"].items():
        points = seen.Scalars(key)
        check(f"tensorboard {run['name']} {key}",
              [p.step for p in points] == curve["steps"]
              and all(same(single(a), b.value) for a, b in zip(curve["values"], points))
              and all(run["started"] <= p.wall_time <= run["ended"] + 1e-3 for p in points),
              f"{len(points)} points, steps equal, values equal as f32")
    notes = [t.tensor_proto.string_val[0].decode() for t in seen.Tensors("notes")]
    check(f"tensorboard {run['name']} notes", notes == run["notes"], notes)
    images = [i for tag in seen.Tags()["images"] for i in seen.Images(tag)]
    check(f"tensorboard {run['name']} images",
          len(images) == sum(a["role"] == "sample" for a in run["artifacts"])
          and all(i.encoded_image_string[:4] == b"\x89PNG" and i.width > 0 for i in images),
          f"{len(images)} pictures")
    start = seen.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = hparams_metadata.parse_session_start_info_plugin_data(start).hparams
    check(f"tensorboard {run['name']} settings",
          hparams["network_dim"].number_value == 4
          and hparams["training_comment"].string_value == run["flags"]["training_comment"],
          f"{len(hparams)} settings, network_dim {hparams['network_dim'].number_value}")
for name in multiplexer.Runs():
    check(f"tensorboard {name[:20]}", "\n" not in name and ".." not in name, "name of a run")

# ---- MLflow --------------------------------------------------------------------------------

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow

lx("export", "--all", "--format", "mlflow", "-o", str(WORK / "mlruns"), "--quiet")
lx("export", "--all", "--format", "mlflow", "-o", str(WORK / "mlruns"), "--quiet")  # twice is once


def check_mlflow(what, uri):
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiments = [e for e in client.search_experiments() if e.name == "lx"]
    found = client.search_runs([e.experiment_id for e in experiments])
    check(f"{what} runs", len(found) == len(runs), f"{len(found)} runs")
    for run in found:
        ours = by_id[run.data.tags["lx.id"]]
        check(f"{what} {ours['id']}", run.info.status == ours["status"].upper()
              and run.info.start_time == round(ours["started"] * 1000),
              f"{run.info.run_name[:20]!r} {run.info.status}")
        if ours["name"] == "odd":
            check(f"{what} odd names",
                  run.data.params == {"a/value": "1", "a/b": "True", "_../up": "2"}
                  and sorted(run.data.metrics) == ["_../up", "loss/average", "loss/current"]
                  and all(len(client.get_metric_history(run.info.run_id, key)) == 1 for key in run.data.metrics),
                  f"{run.data.params} {run.data.metrics}")
        if ours["name"] not in ("hifumi", "second"):
            continue
        check(f"{what} {ours['name']} parameters",
              run.data.params["learning_rate"] == "0.0001" and run.data.params["network_dim"] == "4",
              f"{len(run.data.params)} parameters")
        check(f"{what} {ours['name']} note",
              run.data.tags["mlflow.note.content"] == "\n\n".join(ours["notes"]), "note")
        for key, curve in ours["curves"].items():
            points = client.get_metric_history(run.info.run_id, key)
            check(f"{what} {ours['name']} {key}",
                  sorted(p.step for p in points) == curve["steps"]
                  and all(same(curve["values"][p.step - 1], p.value) for p in points),
                  f"{len(points)} points, equal as f64")
        artifacts = client.list_artifacts(run.info.run_id, "sample")
        check(f"{what} {ours['name']} artifacts",
              sum(a.file_size for a in artifacts)
              == sum(a["size"] for a in ours["artifacts"] if a["role"] == "sample"),
              [a.path for a in artifacts])


check_mlflow("mlflow", (WORK / "mlruns").as_uri())
migrated = subprocess.run([sys.executable, "-m", "mlflow", "migrate-filestore", "--source",
                           str(WORK / "mlruns"), "--target", f"sqlite:///{WORK}/mlflow.db"],
                          capture_output=True, text=True)
if "No such command" in migrated.stderr or "No module named" in migrated.stderr:
    print("skipped: mlflow migrate-filestore (needs the whole of mlflow)")
else:
    check("mlflow migrate-filestore", migrated.returncode == 0, migrated.stderr[-300:])
    check_mlflow("mlflow.db", f"sqlite:///{WORK}/mlflow.db")
print(f"{len(failed)} failed")
sys.exit(1 if failed else 0)
