# Record locks between processes: conflicts, ranges, release at close.
# groups: locks
python3 - <<'PY'
import fcntl, os
f = open('f', 'w+'); f.write('x' * 100); f.flush()
fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)
pid = os.fork()
if pid == 0:
    g = open('f', 'r+')
    def attempt(kind, n, at):
        try: fcntl.lockf(g, kind | fcntl.LOCK_NB, n, at); return 'ok'
        except OSError: return 'blocked'
    print(attempt(fcntl.LOCK_EX, 10, 0), attempt(fcntl.LOCK_SH, 1, 9), attempt(fcntl.LOCK_EX, 10, 10), flush=True); os._exit(0)
os.waitpid(pid, 0)
f.close()
g = open('f', 'r+'); fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB); print('free')
PY
