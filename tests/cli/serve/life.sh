# How it begins and ends, and that it leaves the store alone.
. "$SOURCE/tests/support/serve.sh"
"$LX" serve 2>&1
echo "without a store: $?"
"$LX" log --new one --end finished loss=0.1 >/dev/null || exit 1
"$LX" serve --port 99999
"$LX" serve --port x
"$LX" serve --host no.such.host.invalid --port 0 2>&1 | sed 's/invalid: .*/invalid: (the resolver)/'
serve
"$LX" serve --port "$port" 2>&1 | sed "s/$port/PORT/"
sed "s/$port/PORT/" serve.out serve.err
for signal in INT TERM; do
    [ $signal = INT ] || serve -q
    seconds=20 get /api/changes >events & # a stream that is open does not hold it up
    sleep 0.5
    from=$(date +%s)
    kill -$signal $server
    wait $server
    echo "$signal: $?, $([ $(($(date +%s) - from)) -le 3 ] && echo at once)"
done
# Another training records while it is served; the store stays sound.
serve -q
for i in 1 2 3 4 5; do
    "$LX" log --new "while-$i" --end finished loss=0.$i >/dev/null || echo "not recorded"
    get /api/runs | body | grep -o '"all":[0-9]*'
done
kill $server
wait $server
"$LX" fsck | tail -n 1 | sed 's/, [0-9]* bytes.*//'
chmod -R a-w "$LX_STORE"
serve -q
get / | status
kill $server
wait $server
chmod -R u+w "$LX_STORE"
serve --host 0.0.0.0 --allow-host box.lan:9000
sed "s/$port/PORT/" serve.err
for host in "127.0.0.1:$port" "10.1.2.3:$port" box.lan:9000 "box.lan:$port" "evil.example:$port"; do
    printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$host" | "$ask" "$port" 20 | status |
        sed "s/^/$host: /; s/$port/PORT/"
done
