# The script loads in zsh, and completes commands, those below them and options.
command -v zsh >/dev/null || { echo "skip: no zsh" >&2; exit 77; }
"$LX" completion zsh >_lx || exit
zsh -n _lx || exit
cat >setup.zsh <<'EOF'
PS1='' autoload -U compinit && compinit -u -D
source ./_lx
show() { print -r -- "[$BUFFER]"; BUFFER=''; zle redisplay }
zle -N show
bindkey '^I' complete-word '^X' show
EOF
cat >try.zsh <<'EOF'
zmodload zsh/zpty || exit 77
zpty shell zsh -f -i
zpty -w shell "source ./setup.zsh; echo re''ady"
until zpty -r shell line && [[ $line == *ready* ]]; do :; done
for typed in 'lx comple' 'lx data she' 'lx data tags --wri' 'lx merge --meth' 'lx help comple'; do
    zpty -w -n shell "$typed"$'\t'$'\x18'
    zpty -r -m shell line '*\[lx*\]*'
    [[ $line =~ '\[lx[^]]*\]' ]] && print -r -- $MATCH
done
zpty -d shell
EOF
timeout 60 zsh -f try.zsh
