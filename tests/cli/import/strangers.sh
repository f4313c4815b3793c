# Files of strangers: links that lead round and out, computed columns, a cut event file, a log with many trainings.
command -v python3 >/dev/null || { echo "skip: python3 is not here" >&2; exit 77; }
run=mlruns/1/0123456789abcdef0123456789abcdef
mkdir -p $run/params $run/metrics $run/tags
printf 'experiment_id: 1\nlifecycle_stage: active\nname: e\n' >mlruns/1/meta.yaml
printf 'run_id: 0123456789abcdef0123456789abcdef\nlifecycle_stage: active\nstatus: 3\nstart_time: 1700000000000\n' >$run/meta.yaml
echo 1700000000000 0.5 1 >$run/metrics/loss
for x in a b c d e f; do ln -s . $run/params/$x; done
echo a_secret_of_the_user >own
ln -s "$PWD/own" $run/tags/own
"$LX" import mlruns >out 2>err || exit 1
tail -n 1 out
cat out err | grep -c "not followed"
"$LX" show 1 --json 2>/dev/null | grep -c a_secret_of_the_user

python3 - <<'END'
import sqlite3, struct
db = sqlite3.connect("computed.db")
db.executescript("""
  create table experiments(experiment_id integer, name text, lifecycle_stage text);
  create table runs(run_uuid text, name text, experiment_id integer, user_id text, status text, start_time integer,
    end_time integer, lifecycle_stage text);
  create table params(run_uuid text, key text, x, value text as (hex(zeroblob(400000000))));
  create table tags(run_uuid text, key text, value text);
  create table metrics(run_uuid text, key text, value real, timestamp integer, step integer, is_nan integer);
  insert into experiments values(1, 'e', 'active');
  insert into runs values('cccc', 'n', 1, 'u', 'FINISHED', 1700000000000, 1700000001000, 'active');
  insert into params values('cccc', 'a', 1);""")
db.commit()
with open("many.log", "w") as log:
    for i in range(300):
        log.write("running training / 学習開始\n  num train images * repeats / x: 4\n"
                  "steps:  10%|#  | 1/10 [00:01<00:09, 1.0it/s, avr_loss=0.1]\n")
END
"$LX" import computed.db 2>&1 | grep -o "has a computed column"
"$LX" import many.log | tail -n 1
"$LX" fsck | grep -o "is sound: [0-9]* runs"
[ "$("$LX" sql "SELECT count(DISTINCT hex(object)) FROM artifact WHERE role='console'" --csv | tail -n 1)" = 1 ] && echo one
"$LX" export --all --format tensorboard -o tb >/dev/null 2>&1 || exit 1
mkdir cut
first=$(find tb -name 'events.out*' | head -n 1)
head -c -5 "$first" >cut/events.out.tfevents.1700000000.host
"$LX" import cut 2>&1 | grep -c 'cut short'

# Links in folders of W&B and TensorBoard, to files and folders of the user's.
echo 'diary: a_secret_of_the_user' >own.yml
mkdir -p own_folder tbl/hp
echo a_secret_of_the_user >own_folder/output.log
cp own.yml own_folder/hparams.yml
for folder in tb/*/; do cp "$folder"events.out* tbl/; cp "$folder"events.out* own_folder/; break; done
ln -s "$PWD/own.yml" tbl/hp/hparams.yml
ln -s "$PWD/own_folder" tbl/sub
ln -s "$PWD/own_folder/"events.out* tbl/events.out.tfevents.1800000000.link
LX_STORE=links "$LX" import tbl >out 2>&1 || cat out
grep -c "not followed" out
python3 - <<'END'
import struct, zlib
def record(body):
    return struct.pack("<IHB", zlib.crc32(b"\1" + body), len(body), 1) + body
def field(n, body):
    tag = n << 3 | 2
    return bytes([tag] if tag < 128 else [tag & 127 | 128, tag >> 7]) + bytes([len(body)]) + body
run = field(17, field(1, b"abc") + field(6, b"w"))
for name in ("one", "two"):
    import os
    os.makedirs(name)
    with open(name + "/run-abc.wandb", "wb") as f:
        f.write(b":W&B" + struct.pack("<HB", 0xBEE1, 0) + record(run))
END
mkdir one/files
ln -s "$PWD/own" one/files/output.log
ln -s "$PWD/own_folder" two/files
for name in one two; do
    LX_STORE=links "$LX" import $name 2>&1 | grep -o "files[a-z./]*: a link, which is not followed"
done
"$LX" sql --store links "select count(*) from artifacts where role = 'log'" --csv | tail -n 1
find links -type f -exec grep -l a_secret_of_the_user {} +

# More parameters than a training has.
mkdir -p many/hp
cp own_folder/events.out* many/
seq -f 'key%.0f: 1' 5000 >many/hp/hparams.yml
LX_STORE=many_store "$LX" import many 2>&1 | grep -o 'has more than.*'

# A small checkpoint whose names are a gigabyte, and a header over the limit among other files.
python3 - <<'END'
import collections, io, pickle, sys, types, zipfile
utils = types.ModuleType("torch._utils")
torch = types.ModuleType("torch")
sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
def rebuild(*a): pass
rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", "_rebuild_tensor_v2", "_rebuild_tensor_v2"
utils._rebuild_tensor_v2 = rebuild
class FloatStorage: pass
FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
torch.FloatStorage = FloatStorage
class Storage: pass
class Tensor:
    def __reduce__(self):
        return rebuild, (Storage(), 0, (1,), (1,), False, collections.OrderedDict())
class Pickler(pickle.Pickler):
    def persistent_id(self, o):
        return ("storage", FloatStorage, "0", "cpu", 1) if isinstance(o, Storage) else None
key, tensor = "k" * 60000, Tensor()
root = {str(i): tensor for i in range(2000)}
for _ in range(6):
    root = {key: root}
data = io.BytesIO()
Pickler(data, 2).dump(root)
import os
os.makedirs("big")
with zipfile.ZipFile("names.pt", "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("archive/data.pkl", data.getvalue())
    z.writestr("archive/data/0", b"\0\0\0\0")
    z.writestr("archive/version", "3\n")
with open("big/a.safetensors", "wb") as f:
    f.write((600000000 - 8).to_bytes(8, "little") + b"{")
    f.truncate(600000000)
END
"$LX" inspect names.pt 2>&1
python3 - "$LX" <<'END'
import resource, subprocess, sys
said = subprocess.run([sys.argv[1], "inspect", "big"], capture_output=True, text=True)
print(said.stderr.split(": ")[2].split(" at ")[0])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 400000)
END
