# The script loads in fish, and completes commands, those below them and options, each with its meaning.
command -v fish >/dev/null || { echo "skip: no fish" >&2; exit 77; }
"$LX" completion fish >lx.fish || exit
fish -c 'source lx.fish
for line in "lx comple" "lx data ta" "lx data tags --wri" "lx merge --meth" "lx help comple"
    complete -C $line
end'
