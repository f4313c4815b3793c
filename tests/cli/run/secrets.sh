# Secrets of many kinds by every way into a store: none is in its bytes, nor in what is made of it.
command -v python3 >/dev/null && command -v git >/dev/null || { echo "skip: python3 or git is not here" >&2; exit 77; }
(. "$SOURCE/tests/support/tiny.sh") >/dev/null 2>&1 && tiny=. || tiny=
exec python3 "$SOURCE/tests/support/secrets.py" "$LX" "$tiny" 2>/dev/null
