#!/bin/sh
# man.sh LOWDOWN PAGE.md VERSION OUT.gz - one page of docs/man for man(1)
set -eu
name=$(basename "$2" .1.md)
# Its sections are the top level of a man page, whose title stands in the header.
sed -e 1d -e 's/^## /# /' "$2" |
    "$1" -s -Tman -M title="$name" -M section=1 -M source="lx $3" -M volume="lx" -M date="" |
    gzip -9n >"$4.part"
mv "$4.part" "$4"
