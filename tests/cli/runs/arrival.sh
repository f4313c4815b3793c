# Newest first is by when a run started, not by when it arrived: an old run that comes late is behind.
own=$LX_STORE
runs() {
    "$LX" runs --columns name "$@"
}
"$LX" log --new same --flag lr=1 --step 1 loss=0.5 --end finished >first
LX_STORE=$PWD/elsewhere
export LX_STORE
"$LX" log --new newer --step 1 loss=0.5 --end finished >/dev/null
"$LX" log --new same --flag lr=2 --step 1 loss=0.25 --end finished >second
LX_STORE=$own
"$LX" export -q --all --store "$PWD/elsewhere" -o late.lxb
"$LX" log --new newest --step 1 loss=0.5 --end finished >/dev/null
"$LX" import -q late.lxb >/dev/null
runs
runs -n 2
runs -n 1 --csv
runs --columns name,loss,lr,points
runs 'loss < 1' -n 3
# Of one name the newest is meant, and that is not the last to arrive either.
LX_STORE=$PWD/elsewhere
"$LX" export -q --all --store "$own" -o all.lxb
"$LX" import -q all.lxb >/dev/null
"$LX" show same --json | grep -c "$(cat second)"
