# Long lines, escapes, NUL bytes, broken UTF-8 and a file name with a newline: passed on as they are, and
# inert in what lx shows.
. "$SOURCE/tests/support/lora.sh"
make_lora ready.safetensors "$(session_metadata 11 1 1 | sed 's/style11/\\u001b]52;c;x\\u0007/')"
cat >train.sh <<'END'
head -c 1000000 /dev/zero | tr '\0' '['
printf '\nsteps:  50%%|#| 1/2 [00:01<00:01,  1.00it/s, avr_loss=0.5]\n'
printf '\033[31m\033]0;title\007\000\377\376broken\n'
mkdir out
cp ready.safetensors "out/a
b.safetensors"
printf 'Error: \033[31mred\n' >&2
exit 3
END
"$LX" run --name "$(printf 'n\033[2Jame')" --watch out -- sh train.sh 2>told | wc -c | tr -d ' '
"$LX" runs >shown
"$LX" show "$("$LX" runs --json | sed -n 's/.*"id": "\([0-9a-f]*\)".*/\1/p')" >>shown
grep '^lx run' told >>shown
LC_ALL=C grep -c "$(printf '[\001-\010\013-\037]')" shown
"$LX" sql --csv "SELECT role, name FROM artifacts WHERE role = 'lora'"
"$LX" sql "SELECT status, last_step, loss FROM runs"
"$LX" fsck >/dev/null
