# Names of people in the keys of tags with a value and in names of curves are taken out, too.
export USER=zorblax
run=$("$LX" log --new a)
for step in 1 2; do
    "$LX" log "$run" --step $step loss=0.5 loss/zorblax=0.25 loss/user=0.75 zorblax/x=1 lr/unet=0.1 -q
done
"$LX" log "$run" --end finished -q
"$LX" tag-run a +zorblax=good +of=zorblax +zorblax-too >/dev/null
for format in html md json; do
    "$LX" report a --format $format >report.$format || exit
    grep -c zorblax report.$format
done
grep -o '"tags":\[[^]]*\]' report.json || sed -n '/"tags"/,/]/p' report.json
grep -o '"[^"]*": *{ *"steps"' report.json
