# What is let in and what is not.
. "$SOURCE/tests/support/serve.sh"
"$LX" log --new one --flag dim=4 --end finished loss=0.1 >/dev/null || exit 1
serve

# raw NAME REQUEST - printf's escapes; @ is the port
raw() { printf "$2" | sed "s/@/$port/g" | "$ask" "$port" 20 | status | sed "s|^|$1: |"; }
H='Host: localhost:@\r\nConnection: close\r\n'

raw "get" "GET / HTTP/1.1\r\n$H\r\n"
raw "get, upper case" "GET / HTTP/1.1\r\nHost: LOCALHOST:@\r\nConnection: close\r\n\r\n"
raw "get by address" "GET / HTTP/1.1\r\nHost: 127.0.0.1:@\r\nConnection: close\r\n\r\n"
raw "another name" "GET / HTTP/1.1\r\nHost: evil.example:@\r\nConnection: close\r\n\r\n"
raw "a name that begins like ours" "GET / HTTP/1.1\r\nHost: localhost.evil.example:@\r\nConnection: close\r\n\r\n"
raw "another port" "GET / HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n"
raw "no name" "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
raw "two names" "GET / HTTP/1.1\r\nHost: localhost:@\r\n$H\r\n"
raw "an empty name" "GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n"
raw "an origin of ours" "GET /api/runs HTTP/1.1\r\nOrigin: http://localhost:@\r\n$H\r\n"
raw "another origin" "GET /api/runs HTTP/1.1\r\nOrigin: http://evil.example\r\n$H\r\n"
raw "no origin at all" "GET /api/runs HTTP/1.1\r\nOrigin: null\r\n$H\r\n"
raw "from another site" "GET / HTTP/1.1\r\nSec-Fetch-Site: cross-site\r\n$H\r\n"
raw "from another port" "GET / HTTP/1.1\r\nSec-Fetch-Site: same-site\r\n$H\r\n"
for method in POST PUT DELETE PATCH OPTIONS TRACE CONNECT BREW; do
    raw $method "$method / HTTP/1.1\r\n$H\r\n"
done
raw "a body" "GET / HTTP/1.1\r\nContent-Length: 3\r\n$H\r\nabc"
raw "a body in chunks" "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n$H\r\n0\r\n\r\n"
raw "no such page" "GET /nothing HTTP/1.1\r\n$H\r\n"
raw "no such run" "GET /run/ffffffffffffffff HTTP/1.1\r\n$H\r\n"
raw "no such picture" "GET /run/one/image/ff HTTP/1.1\r\n$H\r\n"
raw "no such file" "GET /assets/passwd HTTP/1.1\r\n$H\r\n"
raw "up" "GET /assets/../../../etc/passwd HTTP/1.1\r\n$H\r\n"
raw "up, escaped" "GET /assets/%%2e%%2e/%%2e%%2e/etc/passwd HTTP/1.1\r\n$H\r\n"
raw "up, inside a part" "GET /assets/..%%2f..%%2fetc%%2fpasswd HTTP/1.1\r\n$H\r\n"
raw "up, overlong" "GET /assets/%%c0%%ae%%c0%%ae/passwd HTTP/1.1\r\n$H\r\n"
raw "an end of text" "GET /run/one%%00 HTTP/1.1\r\n$H\r\n"
raw "a broken escape" "GET /run/%%zz HTTP/1.1\r\n$H\r\n"
raw "for a proxy" "GET http://evil.example/ HTTP/1.1\r\n$H\r\n"
raw "a broken query" "GET /api/runs?q=loss+%%3C HTTP/1.1\r\n$H\r\n"
raw "one run to compare" "GET /compare?run=one HTTP/1.1\r\n$H\r\n"
long=$(head -c 4200 /dev/zero | tr '\0' a)
raw "a long address" "GET /$long HTTP/1.1\r\n$H\r\n"
raw "a long header" "GET / HTTP/1.1\r\nX-A: $long$long$long$long\r\n$H\r\n"
raw "garbage" '\026\003\001\002\r\n\r\n'
get / >whole
printf "HEAD / HTTP/1.1\r\n$H\r\n" | sed "s/@/$port/g" | "$ask" "$port" 20 >head
printf 'HEAD: %s, %s bytes behind it, lengths %s\n' "$(status <head)" "$(body <head | wc -c)" \
    "$([ "$(grep -i ^content-length head)" = "$(grep -i ^content-length whole)" ] && echo agree)"
get /api/nothing | body
get '/api/runs?q=loss+%3C' | body
