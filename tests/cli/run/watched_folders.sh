# Any number of folders is watched, and a file that several of them show is one LoRA; written anew it is told again.
. "$SOURCE/tests/support/lora.sh"
make_lora first.safetensors "$(session_metadata 11 1 2)"
make_lora second.safetensors "$(session_metadata 11 2 2)"
told() { tail -n 1 err | sed 's/lx run: [0-9a-f]*/ID/'; }
loras() {
    "$LX" sql --csv "SELECT a.name, a.step FROM artifacts a JOIN runs r ON r.id = a.run
        WHERE r.name = '$1' AND a.role = 'lora' ORDER BY a.name, a.step"
}
set --
for i in 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20; do set -- "$@" --watch "w$i"; done
"$LX" run --name many "$@" -- sh -c 'mkdir w17 w20; cp first.safetensors w17/a.safetensors
    cp second.safetensors w20/b.safetensors' 2>err
told
loras many
mkdir real
ln -s real link
"$LX" run --name names --watch real --watch ./real/ --watch "$PWD/real" --watch link -- \
    sh -c 'cp first.safetensors real/m.safetensors; ln real/m.safetensors real/last.safetensors
    sleep 3; cp second.safetensors real/m.safetensors' 2>err
told
loras names
# Beside a trainer's own folder, which is watched for names that begin with --output_name only.
cat >train_network.py <<'END2'
mkdir -p out
cp first.safetensors out/it.safetensors
cp second.safetensors out/other.safetensors
END2
"$LX" run --name own --watch out -- sh train_network.py --output_dir out --output_name it 2>err
told
loras own
"$LX" fsck >/dev/null
