# An export to MLflow's folder that is killed at any moment is completed by the next one, with nothing left over.
id=$("$LX" log --new x --flag dim=4 loss=0.5) || exit
"$LX" tag-run "$id" $(seq -f '+old/%.0f' 40) && "$LX" export "$id" --format mlflow -o mlruns -q || exit
"$LX" tag-run "$id" $(seq -f '-old/%.0f' 40) $(seq -f '+new/%.0f' 40) +old || exit
for i in $(seq 1 20); do
    timeout -s KILL "0.0$((i % 10))$((i / 10))" "$LX" export "$id" --format mlflow -o mlruns -q 2>/dev/null
done
"$LX" export "$id" --format mlflow -o mlruns -q && "$LX" export "$id" --format mlflow -o fresh -q || exit
diff -r -I artifact_uri mlruns/*/*/ fresh/*/*/ || exit
find fresh -path '*/tags/*' -type f | wc -l
