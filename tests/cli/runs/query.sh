# Three runs by lx log; queries, sorting, columns, short ids, CSV and JSON of them.
new() { # NAME DIM LOSS...
    id=$("$LX" log --new "$1" --flag network_dim="$2" --flag learning_rate=1e-4 --seed 7) || exit
    step=0
    for loss in $3; do
        step=$((step + 1))
        echo "step=$step loss=$loss"
    done | "$LX" log "$id" - && "$LX" log "$id" --end finished || exit
}
new alpha 4 "0.2 0.1 0.08"
new beta 8 "0.2 0.05 0.06"
new gamma 16 "0.3 0.09"
"$LX" tag-run beta +good +for=forum --group sweep || exit
columns=name,status,steps,loss,dim,min_loss,tags,group
ask() {
    echo "== $*"
    "$LX" runs "$@" || exit
}
ask --columns $columns
ask 'loss < 0.09 and dim in (4, 8)' --sort loss --columns name
ask --sort -dim -n 2 --columns name,dim
ask 'tag = good or name ~ GAM' --sort name --columns name
ask 'not tag and min(loss) >= 0.08' --columns name,last'(loss)'
ask 'started > -1h and duration < 1h and network-dim = 4.0' --columns name
ask lr = 1e-4 and seed = 7 and group != sweep --columns name,lr --sort name
ask 'loss < 0.07' --columns "$columns" --csv
ask 'loss < 0.07' --columns "$columns" --json
ask 'dim > 100'
"$LX" run -q --name switches -- true --cache_latents --shuffle >/dev/null
ask 'cache_latents = true and shuffle = true' --columns name
ask 'cache_latents != true or cache_latents = false' --columns name,cache_latents
