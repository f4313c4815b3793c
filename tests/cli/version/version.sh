"$LX" --version
