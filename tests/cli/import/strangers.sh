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
