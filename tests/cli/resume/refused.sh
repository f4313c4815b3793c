# What cannot be gone on with is said, and why.
hide() { sed "s/run [0-9a-f]\{10\}/run ID/g; s/--like [0-9a-f]\{10\}/--like ID/"; }
try() {
    "$LX" resume "$@" >said 2>err
    echo "$? $(hide <err)"
}
try
try nothing
"$LX" log --new notes loss=1 >/dev/null
try notes
"$LX" log --new going --kind train --flag output_dir=out --flag output_name=x loss=1 >going
try going
"$LX" log "$(cat going)" --end finished
try going
"$LX" log --new broken --kind train --flag output_dir=out --flag output_name=x loss=1 >broken
"$LX" log "$(cat broken)" --end failed
try broken
try broken --from nowhere
try broken --network_dim
