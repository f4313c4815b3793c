# Every page is there, with its policy, and what strangers wrote acts in none.
. "$SOURCE/tests/support/serve.sh"
[ -x "$make" ] && [ -d "$data" ] || { echo "skip: no $make or no $data" >&2; exit 77; }
"$make" "$LX_STORE" "$data" plain && "$make" "$LX_STORE" "$data" x hostile || exit 1
serve
plain=$(ids 'name = plain')
hostile=$(ids 'name != plain')
image=$(get "/run/$plain" | grep -o '/image/[0-9a-f]*"' | head -n 1 | tr -d '"')
sample=$(get "/run/$plain" | grep -o '/sample/[0-9a-f]*"' | head -n 1 | tr -d '"')
broken=$(get "/run/$hostile/samples" | grep -o '/sample/[0-9a-f]*"' | tail -n 1 | tr -d '"')
escape=$(printf '\033')
bell=$(printf '\007')

page() {
    get "$2" >answer
    printf '%s: %s, %s\n' "$1" "$(status <answer)" \
        "$(grep -ai '^content-type' answer | tr -d '\r' | cut -d' ' -f2-)"
    grep -aq "^Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'" answer ||
        echo "$1: no policy"
    for header in 'X-Content-Type-Options: nosniff' 'Referrer-Policy: no-referrer' 'Cache-Control: no-store'; do
        grep -aq "^$header" answer || echo "$1: no $header"
    done
    body <answer >text
    case $1 in *JPEG) [ "$(head -c 3 text | od -An -tx1 | tr -d ' ')" = ffd8ff ] || echo "$1: no JPEG"; return ;; esac
    if grep -q "[$escape$bell]" text; then echo "$1: a control character"; fi
    case $1 in *JSON | *text) return ;; esac
    if grep -qiE '<script>|<img src=x|<style| on[a-z]+="|javascript:' text; then echo "$1: something acts"; fi
    if grep -qE '(src|href|action)="?(https?:|//)' text; then echo "$1: fetches something"; fi
    [ "$(wc -c <text)" -lt 1000000 ] || echo "$1: the line of a megabyte is in it whole"
}
page "runs" /
page "runs, sorted" '/?sort=-loss&columns=id,loss,tags,long&first=1'
page "a wrong query" '/?q=%3Cscript%3Ealert(1)%3C/script%3E'
page "run" "/run/$plain"
page "hostile run" "/run/$hostile"
page "hostile samples" "/run/$hostile/samples"
page "hostile console, text" "/run/$hostile/console"
page "comparison" "/compare?run=$plain&run=$hostile"
page "no page" "/%3Cscript%3E"
page "no run" "/run/%3Cscript%3Ealert(1)%3C%2Fscript%3E"
page "runs, JSON" /api/runs
page "run, JSON" "/api/run/$hostile"
page "comparison, JSON" "/api/compare?run=$plain&run=$hostile"
page "image, JPEG" "/run/$plain$image"
page "sample, JPEG" "/run/$plain$sample"
page "whole sample, JPEG" "/run/$plain$sample?full"
page "no picture" "/run/$hostile$broken"
get "/run/$plain" | grep -o '/assets/[a-z]*\.[a-z]*?v=[0-9a-f]*' | sort -u | while read -r asset; do
    get "$asset" >answer
    printf '%s: %s, %s\n' "$(echo "$asset" | sed 's/?.*//')" "$(status <answer)" \
        "$(grep -i '^cache-control' answer | tr -d '\r')"
done
# Only what belongs to the run, as what it is.
get "/run/$hostile/image/$(printf '%064d' 7)" | status
get "/run/$hostile/sample/${image#/image/}" | status
