"$LX" debug nonsense
