# Every field of a run as a column, as CSV, sorted and asked for; what a LoRA file says of its data and base model is
# found by words; a minimum and the last of a curve; which fields there are.
. "$SOURCE/tests/support/lora.sh"
make_lora one.safetensors "$(session_metadata 1 2 2)"
make_lora two.safetensors "$(session_metadata 2 1 2 '"ss_text_encoder_lr":"0.0001","ss_unet_lr":"0.0005"')"
make_lora three.safetensors "$(session_metadata 3 1 2 '"ss_text_encoder_lr":"0.0001","ss_unet_lr":"0.0001"')"
"$LX" import one.safetensors two.safetensors three.safetensors >/dev/null || exit
id=$("$LX" log --new "by hand" --kind train --flag learning_rate=5.0e-05 --flag unet_lr=5.0e-05 --seed 3) || exit
printf 'step=1 loss=0.5 grad_norm=2\nstep=2 loss=0.25 grad_norm=4\nstep=3 loss=0.5 grad_norm=3\n' | "$LX" log "$id" -
"$LX" log "$id" --end failed --message "out of paint"
"$LX" tag-run "$id" --pin --group night +best +for=forum >/dev/null
"$LX" note "$id" "looks at the left" >/dev/null
ask() {
    echo "== $*"
    "$LX" runs "$@" 2>&1 | sed "s/$id/RUN/g; s/[0-9a-f]\{32,64\}/HASH/g; s/\r$//"
}
ask --sort name --columns name,kind,status,steps,points,seed,pinned,group,message --csv
ask --sort "-steps,name" --columns name,base,dataset,rank,alpha,lr,unet_lr --csv
ask --sort name --columns 'name,loss,min_loss,min(loss),last(loss),min(grad_norm),last(grad_norm),tags,notes' --csv
ask 'base ~ nai' --columns name,base --sort name
ask 'not dataset and base = 89d59c3d' --columns name --sort name
ask 'pinned = 1 and points > 5 and note ~ left' --columns name,notes
ask 'duration < 1h and ended > -1h' --columns name --sort name
ask 'ended < 1h'
ask 'origin = x or parent = y' --columns name
ask 'min(loss) < 0.3 and last(loss) > 0.4' --columns name --json
ask 'loss = "' --columns name
ask --sort a,b,c,d,e,f,g,h,i,j,k,l --columns name
ask --columns 'nothing(loss)'
ask --sort name,kind,status,steps,points,seed,pinned,group,message,base --columns name
ask --status odd --kind train
"$LX" runs --columns +spec,ended | sed 's/^[0-9a-f]* *[0-9-]* [0-9:]* *//; s/[12][0-9]*-[0-9]*-[0-9]* [0-9:]*/DATE/g; s/  */ /g; s/ *$//'
"$LX" runs --fields | awk '{ print $1 }' | head -40 | tr '\n' ' '
echo
# of very many runs the flags that differ are looked for among those that tell most, and read all at once
make=$(dirname "$LX")/tests/lx_bench_runs
[ -x "$make" ] || { echo "skip: no $make" >&2; exit 77; }
"$make" many 210 2 >/dev/null || exit
"$LX" --store many runs --all | head -1 | sed 's/  */ /g'
"$LX" --store many runs --all --sort -dim,loss --columns name,dim,lr,dataset,base --csv | sed 's/\r$//' | sed -n '1,4p;$p'
"$LX" --store many runs --all 'dim in (4, 8) and dataset ~ a' --columns name --csv | wc -l
