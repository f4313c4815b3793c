# The command's end is lx's: its status, its signals, what a shell says of commands that are none.
try() { "$LX" run -q "$@" 2>&1; echo "exit $?"; }
try -- sh -c 'exit 0'
try -- sh -c 'echo to the end; exit 7'
try -- sh -c 'kill -9 $$'
try -- sh -c 'kill -TERM $$'
try -- no-such-command-at-all
touch plain; try -- ./plain
try --
try --no-such-option -- true
try sh -c 'echo without the dashes'
"$LX" sql "SELECT status, message FROM runs ORDER BY seq"
# Who starts us may ignore the ends of children.
command -v python3 >/dev/null || { echo "skip: no python3" >&2; exit 77; }
timeout -s KILL 60 python3 -c 'import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], ["lx", "run", "-q", "--", "sh", "-c", "exit 5"])' "$LX"
echo "exit $?"
