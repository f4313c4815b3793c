# Every limit that a file, a folder or a word can reach: taken at it, refused one beyond by name and without taking room.
command -v python3 >/dev/null || { echo "skip: python3 is not here" >&2; exit 77; }
exec python3 "$SOURCE/tests/support/limits.py" "$LX"
