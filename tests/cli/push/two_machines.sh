# Two machines (network namespaces) push to and pull from a third one's git daemon at the same time, one of them
# losing its network for a moment, and end equal.
make=$(dirname "$LX")/tests/make_run
data=$LX_GOLDENS/e2e/data/train
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
[ -x "$(git --exec-path 2>/dev/null)/git-daemon" ] || { echo "skip: no git daemon" >&2; exit 77; }
at() { # MACHINE COMMAND...
    where=lx-$1-$$
    shift
    ip netns exec $where "$@"
}
clean() {
    [ ! -s daemon ] || kill "$(cat daemon)" 2>/dev/null
    for machine in s a b; do
        ip netns del lx-$machine-$$ 2>/dev/null
    done
}
trap clean EXIT
for machine in s a b; do
    ip netns add lx-$machine-$$ 2>/dev/null && at $machine ip link set lo up || { echo "skip: no network namespaces" >&2; exit 77; }
done
for machine in a b; do
    net=10.77.$([ $machine = a ] && echo 1 || echo 2)
    ip link add name wire-$machine netns lx-s-$$ type veth peer name wire netns lx-$machine-$$ &&
        at s ip address add $net.1/24 dev wire-$machine && at s ip link set wire-$machine up &&
        at $machine ip address add $net.2/24 dev wire && at $machine ip link set wire up ||
        { echo "skip: no veth" >&2; exit 77; }
done
git init -q --bare runs.git
at s git daemon --reuseaddr --export-all --enable=receive-pack --base-path="$PWD" --pid-file=daemon --detach \
    --listen=10.77.1.1 --listen=10.77.2.1 >/dev/null 2>&1 || { echo "skip: git daemon does not start" >&2; exit 77; }
sleep 0.5
"$make" a "$data" shared && at a "$LX" --store a push git://10.77.1.1/runs.git -q >/dev/null &&
    at b "$LX" --store b pull git://10.77.2.1/runs.git | sed 's/from .*/from URL/' || exit 1
work() { # MACHINE URL
    for i in 1 2 3 4; do
        "$make" $1 "$data" $1-$i && "$LX" --store $1 note shared "note $i of $1" >/dev/null || return 1
        at $1 "$LX" --store $1 push $2 -q >/dev/null 2>&1
        at $1 "$LX" --store $1 pull $2 >/dev/null 2>&1
    done
}
work a git://10.77.1.1/runs.git &
work b git://10.77.2.1/runs.git &
sleep 0.3
at s ip link set wire-b down
sleep 0.3
at s ip link set wire-b up
wait
for round in 1 2; do
    for home in a b; do
        url=git://10.77.$([ $home = a ] && echo 1 || echo 2).1/runs.git
        at $home "$LX" --store $home push $url -q >/dev/null && at $home "$LX" --store $home pull $url >/dev/null || exit
    done
done
say() {
    "$LX" --store $1 sql --csv "SELECT name, status, n_points FROM runs ORDER BY id"
    "$LX" --store $1 sql --csv "SELECT run, note FROM notes ORDER BY run, note"
    "$LX" --store $1 sql --csv "SELECT run, role, step, sha256 FROM artifacts ORDER BY run, role, step"
}
say a | sed 's/made by .*/made by/' >a.txt
say b | sed 's/made by .*/made by/' >b.txt
cmp a.txt b.txt || { diff a.txt b.txt; exit 1; }
grep -c 'note . of' a.txt
"$LX" --store a sql "SELECT count(*) FROM runs" | tail -n 1
"$LX" --store a fsck >/dev/null && "$LX" --store b fsck >/dev/null && git -C runs.git fsck 2>&1 | grep -E 'error|missing|corrupt'
exit 0
