# Parameters for MLflow are written as Python writes them, so that lx import and MLflow's users know what is what.
id=$("$LX" log --new x --flag yes=true --flag no=false --flag text=None --flag dim=4 --flag name=plain loss=1) || exit
"$LX" export "$id" --format mlflow -o mlruns -q || exit
"$LX" --store other import mlruns -q >/dev/null || exit
"$LX" --store other export x --format mlflow -o again -q || exit
for folder in mlruns again; do
    (cd $folder/*/*/params && for key in *; do echo "$key: $(cat "$key")"; done)
done
"$LX" --store other sql --csv 'select key, value from flags order by key'
