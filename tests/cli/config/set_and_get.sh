# Setting, getting, unsetting; a file keeps its comments; what cannot be is refused and nothing is written.
try() { "$LX" config "$@"; echo "exit $?"; }
try
try set train.threads 2
try set remote 'git@example.com:me/runs "x".git'
try set privacy.words 'Jane Doe,jdoe'
try set train.optimizer_args 'betas=0.9,0.99 weight_decay=0.1'
try set run.strict true
cat "$HOME/.config/lx/config"
try get train.threads
try get train.nothing
try get remote --json
mkdir -p p/.lx/deep && cd p/.lx/deep || exit 1
try set train.threads 4 --project
unset LX_STORE
try list
try set store /somewhere --project
try unset train.threads -p
cat ../config
cd ../.. && rm -r .lx && cd .. || exit 1
try set store '~/runs'
try get store
cat >"$HOME/.config/lx/config" <<'EOF'
# mine
[train] # of all trainings
threads = 3    # cores
network_args = [
  "conv_dim=4",
]
EOF
try set train.threads 5
try set train.max_grad_norm 0.5
try set remote here
try set train.network_args conv_dim=8
cat "$HOME/.config/lx/config"
try unset remote
try unset remote
for bad in 'train.nothing 1' 'train.network_dim x' 'train.like a' 'train.seed -1x' 'run.strict maybe' 'nonsense 1' \
    'store relative' 'privacy.words ab' 'train.wandb_api_key k' 'train.flip_aug 2' 'train.optimizer_type'; do
    try set $bad
done
try get
try frobnicate
try set train.threads 1 --project
echo 'train = 1' >"$HOME/.config/lx/config"
try list
"$LX" runs
echo "exit $?"
"$LX" --version >/dev/null && "$LX" help runs >/dev/null && echo "help works"
echo 'trian.threads = 1' >"$HOME/.config/lx/config"
"$LX" runs
echo "exit $?"
try unset trian.threads
echo "== keys, and where all is from"
"$LX" config keys | sed 's/ .*//' | tr '\n' ' '
echo
(
    unset LX_STORE
    OMP_NUM_THREADS=1 "$LX" --store here config list --json | grep -A2 '"store"'
    HOME='' XDG_CONFIG_HOME='' "$LX" config set train.threads 2
    echo "exit $?"
)
# Nobody else reads it, and lists hide passwords.
rm "$HOME/.config/lx/config"
umask 022
try set remote https://me:hunter2@example.com/runs.git
stat -c %a "$HOME/.config/lx/config"
try list | sed 's/  */ /g'
try list --json | grep value | grep -v '"DIR'
try get remote
chmod 640 "$HOME/.config/lx/config"
try set run.strict true
stat -c %a "$HOME/.config/lx/config"
# A line that is changed keeps its comment, and a number every digit of it.
printf 'remote = "a#b"   # here\r\n[train]\nthreads = 2 # keep: it overheats\n' >"$HOME/.config/lx/config"
try set train.threads 4
try set remote 'c#d'
cat -A "$HOME/.config/lx/config"
try set train.seed 9007199254740993
try set train.seed 9007199254740992
