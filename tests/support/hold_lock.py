"""hold_lock.py STORE SECONDS - holds the lock of a store as another lx that writes; says "held" when it does"""
import fcntl
import sys
import time

with open(sys.argv[1] + "/lock", "r+b") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
