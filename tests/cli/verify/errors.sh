# Usage and bad input say what is wrong and what to do.
try() {
    "$LX" verify "$@"
    echo $?
}
try
try a.safetensors --data img
try a.safetensors --held-out img
try a.safetensors b.safetensors
try a.safetensors --draws 3
for option in images draws budget; do
    try a.safetensors --$option 0
done
try a.safetensors --time soon
try a.safetensors --time 5m --budget 100
try a.safetensors --delta 0
try a.safetensors --resolution big
try a.safetensors --mixed_precision half
try missing.safetensors
cp "$SOURCE/tests/badfiles/st_ok_minimal.safetensors" minimal.safetensors
try minimal.safetensors
