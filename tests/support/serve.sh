# serve.sh - for cases of lx serve, to be read by them: begin it, ask it, end it
ask=$(dirname "$LX")/tests/ask
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$ask" ] || { echo "skip: no $ask" >&2; exit 77; }

# serve [OPTIONS] - in the background, on a free port that is then $port
serve() {
    : >serve.out # what an earlier one said is not this one's address
    "$LX" serve --port 0 "$@" >serve.out 2>serve.err &
    server=$!
    trap 'kill $server 2>/dev/null' EXIT
    for _ in $(seq 100); do
        [ -s serve.out ] && break
        kill -0 $server 2>/dev/null || break
        sleep 0.1
    done
    port=$(sed -n 's|^http://.*:\([0-9]*\)/$|\1|p' serve.out)
    [ -n "$port" ] || { cat serve.err; exit 1; }
}

# get TARGET [HEADER...] - the whole answer; Host is ours
get() {
    target=$1
    shift
    { printf 'GET %s HTTP/1.1\r\nHost: localhost:%s\r\nConnection: close\r\n' "$target" "$port"
      for header in "$@"; do printf '%s\r\n' "$header"; done
      printf '\r\n'; } | "$ask" "$port" "${seconds-20}"
}

# status - of the answer on standard input
status() { head -n 1 | tr -d '\r'; }
body() { sed '1,/^\r*$/d'; }

# ids QUERY - of the runs it finds
ids() { "$LX" runs "$1" --all --columns id --csv | tail -n +2; }
