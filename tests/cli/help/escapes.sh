# What a user or a file names is never sent raw to the terminal.
"$LX" "$(printf 'a\033[31mb')"
