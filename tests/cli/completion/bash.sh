# The script loads, and completes a command and one of its options.
command -v bash >/dev/null || { echo "skip: no bash" >&2; exit 77; }
"$LX" completion bash >script || exit
cat >try <<'EOF'
. ./script
COMP_WORDS=(lx hel) COMP_CWORD=1
_lx; echo "${COMPREPLY[@]}"
COMP_WORDS=(lx help --verb) COMP_CWORD=2
_lx; echo "${COMPREPLY[@]}"
COMP_WORDS=(lx data ta) COMP_CWORD=2
_lx; echo "${COMPREPLY[@]}"
EOF
bash try
