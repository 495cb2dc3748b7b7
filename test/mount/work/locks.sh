# flock and POSIX locks between processes.
python3 "$WORK/locks.py" | diff "$WORK/locks.out" -
