# Another lx holds the store for longer than anybody waits, when a LoRA appears and to beyond the command's end: all is
# recorded when it is over.
. "$SOURCE/tests/support/lora.sh"
"$LX" run --name first --quiet -- true
make_lora style.safetensors "$(session_metadata 1 1 1)"
mkdir out
cat >command.sh <<'EOF'
mkfifo held
python3 "$SOURCE/tests/support/hold_lock.py" "$LX_STORE" 12 >held 2>/dev/null &
read word <held
cp style.safetensors out/
for i in $(seq 35); do
    echo "line $i"
    sleep 0.1
done
EOF
"$LX" run --name busy --watch out -- sh command.sh >seen 2>said
echo "exit $?"
grep -c '^line' seen
sed 's/recording as .*/recording/; s/[0-9a-f]\{10\}/ID/' said
"$LX" sql "SELECT role, name, size FROM artifacts WHERE run=(SELECT id FROM runs WHERE name='busy') ORDER BY role"
"$LX" sql "SELECT status, value FROM runs JOIN facts ON run=id WHERE name='busy' AND key='exit_status'"
"$LX" fsck >checked || cat checked
