# docs/flags.md is what the table of flags says now.
"$LX" debug flags-doc >flags.md && diff -u "$SOURCE/docs/flags.md" flags.md
