# What a hole in a parser could still do: every attempt that the kernel let pass is listed, all others are refused.
# Older kernels are played by --abi and --no_seccomp.
tries() {
    mkdir "$1"
    name=$1
    shift
    echo "# $*"
    "$LX" debug sandbox "$name" "$@" >"$name.out" 2>"$name.err"
    echo "exit $?, $(grep -c . "$name.out") attempts"
    sed 's/^sandbox: /kernel: /; s/ABI [3-9][0-9]*/ABI N/' "$name.err"
    grep ' done$' "$name.out" | grep -Ev "${unsure:-^$}"
}
mkdir probe
"$LX" debug sandbox probe 2>&1 >/dev/null | grep -q 'Landlock ABI .*, seccomp' ||
    { echo "skip: this kernel has no Landlock or no seccomp" >&2; exit 77; }
tries command
tries children --children
tries worker --worker
tries abi_1 --abi 1
tries abi_2 --abi 2
unsure="parent's env|handle|attribute" # as the user and the file system have it
tries no_landlock --abi 0
tries no_seccomp --no_seccomp
tries neither --abi 0 --no_seccomp
cat command/secret/file
echo
LX_SANDBOX=off "$LX" debug sandbox . --no_seccomp 2>&1 >/dev/null | sed 's/^sandbox: /variable: /'
