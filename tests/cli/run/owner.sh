# A repository of another user is not read, and the record says so; git's safe.directory is heeded.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skip: only root can give a folder to another" >&2; exit 77; }
unset SUDO_UID
export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@y GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@y
git init -q --bare runs.git
git init -q work
(cd work && echo 'print(1)' >train.py && git add . && git commit -qm first && git config remote.origin.url ../runs.git)
chown -R 65534 work runs.git
tell() { # NAME: what is recorded of the code
    (cd work && "$LX" run --name "$1" -- true >/dev/null)
    "$LX" show "$1" --json | tr ',{' '\n\n' | grep -E '"(commit|problem|branch)":' | sed 's/"[0-9a-f]\{40\}"/COMMIT/; s/^ *//'
}
try() {
    "$@" >seen 2>&1
    echo "exit $?"
    sed 's/^[0-9a-f]\{16\}$/ID/' seen
}
tell strange
try "$LX" push runs.git
git config --global --add safe.directory "$PWD/another"
try "$LX" push runs.git
(cd work && try "$LX" push origin | grep -v '^ID')
git config --global --add safe.directory "$PWD/work"
git config --global --add safe.directory "$PWD/runs.git"
tell trusted
try "$LX" push runs.git --quiet
