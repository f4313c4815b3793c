# 154 files that were made to break what reads them, through every command that does: refused or taken, never a crash, a
# hang, or a character that a terminal obeys.
command -v python3 >/dev/null || { echo "skip: python3 is not here" >&2; exit 77; }
mkdir files && python3 "$SOURCE/tests/support/hostile.py" files && exec python3 "$SOURCE/tests/support/hostile_run.py" "$LX" files 120
