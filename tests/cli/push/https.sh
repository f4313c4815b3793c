# Over https, against git's own server: certificates are checked, users and passwords come from the address or git's
# credential helpers, which are told whether they were right; nobody is asked for anything.
for program in git python3 openssl; do
    command -v $program >/dev/null || { echo "skip: no $program" >&2; exit 77; }
done
[ -x "$(git --exec-path)/git-http-backend" ] || { echo "skip: no git-http-backend" >&2; exit 77; }
git init -q --bare runs.git
git -C runs.git config http.receivepack true
openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 >/dev/null 2>&1 || { echo "skip: openssl makes no certificate" >&2; exit 77; }
python3 "$SOURCE/tests/support/git_https.py" "$PWD" certificate key wren:s3cret port &
trap 'kill $! 2>/dev/null' EXIT
for i in $(seq 1 100); do
    [ ! -s port ] || break
    sleep 0.1
done
[ -s port ] || { echo "skip: the server does not start" >&2; exit 77; }
host=localhost:$(cat port)
say() {
    sed -e "s,$host,HOST,g" -e 's/^[0-9a-f]\{16\}$/ID/'
}
helper() { # PASSWORD: one that gives it and notes what it is told
    git config --global credential.helper \
        "!f() { echo \$1 >>'$PWD/told'; [ \$1 != get ] || printf 'username=wren\npassword=$1\n'; }; f"
}
try() {
    timeout 60 "$LX" "$@" >seen 2>&1 </dev/null
    echo "exit $?"
    say <seen
}
"$LX" log --new a --flag x=1 | say

echo "== a certificate of nobody"
timeout 60 "$LX" push https://$host/runs.git >/dev/null 2>&1
echo "exit $?"
export GIT_SSL_CAINFO=$PWD/certificate
echo "== nobody knows the password"
try push https://$host/runs.git
echo "== a helper has a wrong one"
helper wrong
try push https://$host/runs.git
cat told
echo "== a helper has it"
: >told
helper s3cret
try push https://$host/runs.git
try --store second pull https://$host/runs.git
sort told | uniq -c | sed 's/^ *//'
echo "== a helper that a repository around us names is not asked"
git init -q around
git -C around config credential.helper "!touch '$PWD/witness'; echo"
git config --global --unset credential.helper
(cd around && try push https://$host/runs.git | head -n 1)
[ ! -e witness ] || echo "it was"
echo "== the address has it, and it is not shown"
"$LX" note a "said later" | say
try push https://wren:s3cret@$host/runs.git
