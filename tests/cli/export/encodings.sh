# A console that is not UTF-8 leaves as a bundle and as files of other trackers without the names in it.
export USER=zorblax
"$LX" run -q --name priv -- sh -c 'printf "\377 /home/zorblax/secret zorblax me@corp.de\n"' >/dev/null || exit 1
"$LX" export priv -o priv.lxb 2>&1 | grep note
"$LX" --store other import priv.lxb | tail -n 1
"$LX" --store other export priv --no-scrub --format mlflow -o other.ml -q
"$LX" export priv --format mlflow -o own.ml 2>&1 | grep note
for folder in other.ml own.ml; do
    find $folder -name console.txt -exec od -An -c {} \;
done
