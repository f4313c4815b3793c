# LoRAs that lx run recorded are no new history.
. "$SOURCE/tests/support/lora.sh"
make_lora ready.safetensors "$(session_metadata 21 1 1)"
"$LX" run -q --watch out -- sh -c 'mkdir -p out; cp ready.safetensors out/a.safetensors'
"$LX" import --dry-run out | tail -n 1
"$LX" import out | tail -n 1
"$LX" sql "SELECT kind, count(*) FROM runs GROUP BY kind"
