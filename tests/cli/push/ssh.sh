# Over ssh, against a server of this machine: the host's key is checked, keys come from ~/.ssh or an agent, and nobody
# is asked for anything.
for program in git ssh-keygen ssh-keyscan ssh-agent ssh-add; do
    command -v $program >/dev/null || { echo "skip: no $program" >&2; exit 77; }
done
sshd=$(command -v sshd || echo /usr/sbin/sshd)
[ -x "$sshd" ] || { echo "skip: no sshd" >&2; exit 77; }
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
make_key() { # FILE PASSPHRASE
    ssh-keygen -q -t ed25519 -N "$2" -C test -f "$1"
}
mkdir -m 700 "$HOME/.ssh"
make_key host '' && make_key "$HOME/.ssh/id_ed25519" '' && make_key locked secret || exit
cat "$HOME/.ssh/id_ed25519.pub" locked.pub >authorized
port=20000
while [ $port -lt 20040 ]; do
    port=$((port + 1))
    printf '%s\n' "Port $port" "ListenAddress 127.0.0.1" "HostKey $PWD/host" "AuthorizedKeysFile $PWD/authorized" \
        "PidFile $PWD/pid" "StrictModes no" "UsePAM no" "PasswordAuthentication no" >config
    rm -f pid
    "$sshd" -f config -E log || { echo "skip: sshd does not start: $(tail -n 1 log)" >&2; exit 77; }
    sleep 0.5
    [ ! -s pid ] || break
done
[ -s pid ] || { echo "skip: no free port for sshd" >&2; exit 77; }
trap 'kill "$(cat pid)" $SSH_AGENT_PID 2>/dev/null' EXIT
unset SSH_AUTH_SOCK
url="ssh://$(id -un)@127.0.0.1:$port$PWD/runs.git"
say() { # PROGRAM'S WORDS without what is of this machine
    sed -e 's,ssh://[^ ]*git,URL,g' -e 's/^[0-9a-f]\{16\}$/ID/'
}
git init -q --bare runs.git
"$LX" log --new a --flag x=1 | say

echo "== the host is not known"
"$LX" push "$url" >seen 2>&1
echo "exit $?"
say <seen
echo "== it is, and the key is in ~/.ssh"
ssh-keyscan -p $port 127.0.0.1 >"$HOME/.ssh/known_hosts" 2>/dev/null
timeout 60 "$LX" push "$url" 2>&1 | say
timeout 60 "$LX" --store second pull "$url" 2>&1 | say
echo "== a key with a passphrase: no question, an answer"
mv "$HOME/.ssh/id_ed25519" elsewhere
cp locked "$HOME/.ssh/id_ed25519"
timeout 60 "$LX" push "$url" >seen 2>&1 </dev/null
echo "exit $?"
say <seen
echo "== the agent has a key"
eval "$(ssh-agent -s)" >/dev/null
chmod 600 elsewhere
ssh-add -q elsewhere 2>/dev/null
"$LX" note a "by the agent" | say
timeout 60 "$LX" push "$url" 2>&1 | say
echo "== the host has another key than it had"
make_key other '' && sed "s,AAAA.*,$(cut -d' ' -f2 other.pub)," "$HOME/.ssh/known_hosts" >changed && mv changed "$HOME/.ssh/known_hosts"
timeout 60 "$LX" push "$url" >/dev/null 2>&1
echo "exit $?"
