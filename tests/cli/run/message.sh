# Why a run failed is the beginning of its last line: colours are no part of it, and it is cut between characters.
message() {
    "$LX" run -q --name "$1" -- sh -c "$2; exit 3" >/dev/null 2>&1
    "$LX" sql --csv "SELECT message FROM runs WHERE name = '$1'" | sed -n 2p
}
message plain 'printf "Traceback\nValueError: no\n\n"'
message coloured 'printf "\033[1;35mValueError\033[0m: \033[35mno such \033(Bkey\033[0m\r\n\033[0m\n"'
message titled 'printf "ValueError: \033]0;title\007one \033]8;;x\033\\\\two\n"'
message broken 'printf "ValueError: \377\376 in \033[3"'
long=$(printf 'ValueError: %090d' 0 | sed 's/0/あい/g')
message long "printf '%s\n' '$long'" >cut
sed 's/^\(.\{40\}\).*/\1/' cut
wc -c <cut | tr -d ' '
iconv -f UTF-8 -t UTF-8 cut >/dev/null && echo "whole characters"
message longer "printf 'x%05000d' 0 | sed 's/0/あ/g'" | sed 's/^\(.\{24\}\).*/\1/'
message secret "printf '%0260d --wandb_api_key 0123456789abcdef0123456789abcdef01234567\n' 0" | sed 's/0\{20,\}/00/'
