# Global options are taken before the command and after it.
"$LX" -q --store x help help >before && "$LX" help help --store=x -qv >after && cmp before after
