# Runs whose names make the same folder have one each.
for name in 良い 悪い plain "$(printf '%0130d' 1)" "$(printf '%0130d' 2)" 'a/b' 'a:b'; do
    "$LX" log --new "$name" --flag dim=4 loss=0.5 >/dev/null || exit
done
"$LX" sql --csv 'select id from runs' | tail -n +2 | xargs "$LX" export --format tensorboard -o tb -q || exit
ls tb | sed 's/0\{100,\}/0.../; s/-[0-9a-f]\{10\}$/-ID/' | sort
find tb -type f | wc -l
