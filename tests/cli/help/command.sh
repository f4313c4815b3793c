"$LX" help help && "$LX" help --help
