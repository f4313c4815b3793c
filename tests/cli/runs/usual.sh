# Without --columns: what differs among the listed runs, beside status, steps and loss.
show() {
    "$LX" runs "$@" | sed 's/^[0-9a-f]\{10\}  [0-9-]* [0-9:]*/ID          DATE            /; s/^id          started         /id          started         /'
}
"$LX" log --new a --flag network_dim=4 --flag lr_scheduler=cosine --flag output_name=x loss=1 >id
"$LX" log "$(cat id)" --end finished
show
"$LX" log --new b --flag network_dim=4 --flag lr_scheduler=linear --flag output_name=y loss=2 >id
"$LX" log "$(cat id)" --end failed --message "out of paint"
show
"$LX" log --new c --flag network_dim=8 --flag lr_scheduler=linear --flag output_name=z loss=2 >id
"$LX" log "$(cat id)" --end finished
"$LX" tag-run c +best
show --sort name
"$LX" log --new script loss=3 >id # without flags: nothing differs for it
"$LX" log "$(cat id)" --end finished
show --sort name
show 'status = failed' --columns +message
