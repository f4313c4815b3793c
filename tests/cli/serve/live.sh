# The points of a run that is under way arrive as they are recorded, and its end does.
. "$SOURCE/tests/support/serve.sh"
mkfifo lines || exit 1
"$LX" log --new live --flag dim=4 - <lines >/dev/null &
logger=$!
exec 3>lines
echo '{"step": 1, "loss": 0.5}' >&3
for _ in $(seq 100); do
    [ "$("$LX" sql --csv "select count(*) from runs" 2>/dev/null | tail -n 1)" = 1 ] &&
        "$LX" show live --json 2>/dev/null | grep -q '"loss"' && break
    sleep 0.1
done
serve 3>&-
id=$(ids 'status = running')
get "/run/$id" | grep -o 'data-seen="[^"]*"'
(exec 3>&-; seconds=20; get "/api/run/$id/live?seen=0:1") >events &
listener=$!
sleep 1
echo '{"step": 2, "loss": 0.25}' >&3
echo '{"step": 3, "loss": 0.125}' >&3
for _ in $(seq 100); do
    grep -q '"x":\[2' events && break
    sleep 0.1
done
exec 3>&- # the end of the run ends the stream
wait $listener $logger
for axis in x y; do # in one event or in two
    grep -o "\"$axis\":\[[0-9.,]*" events | sed 's/.*\[//' | paste -sd, | sed "s/^/$axis: /"
done
grep -c 'event: reload' events
grep '"status"' events | tail -n 1 | tr -d '\r' | sed 's/,"took.*//'
# Where one left off: nothing comes twice.
seconds=5 get "/api/run/$id/live" 'Last-Event-ID: 0:2' | grep -E '^(id|data: \{"loss)' | tr -d '\r' | head -n 2
# Who has seen nothing gets all, a curve `epoch` changes nothing, and a page knows where it is.
mkfifo more || exit 1
"$LX" log --new epochs --flag dim=4 - <more >/dev/null &
logger=$!
exec 3>more
echo '{"step": 1, "epoch": 1, "loss": 0.5, "lr": 0.25}' >&3
for _ in $(seq 100); do
    "$LX" show epochs --json 2>/dev/null | grep -q '"lr"' && break
    sleep 0.1
done
id=$(ids 'name = epochs')
seen=$(get "/run/$id" | sed -n 's/.*data-seen="\([^"]*\)".*/\1/p')
echo "page: $seen"
for from in 0: 0:- "$seen"; do
    seconds=3 get "/api/run/$id/live?seen=$from" | grep -E '^(event: [pr]|data: \{"loss)' |
        tr -d '\r' | sed "s/^/$from /"
done
exec 3>&-
wait $logger
for seen in x 1 1: 1:- 1:-1 1:, 1:a 1:2,, -1:2 99999999999999999999:1; do
    seconds=5 get "/api/run/$id/live?seen=$seen" | status | sed "s/^/$seen: /"
done
printf 'HEAD /api/changes HTTP/1.1\r\nHost: localhost:%s\r\nConnection: close\r\n\r\n' "$port" |
    "$ask" "$port" 20 | status
