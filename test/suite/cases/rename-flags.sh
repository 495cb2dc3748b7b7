# renameat2: NOREPLACE and EXCHANGE.
# groups: rename
python3 - <<'PY'
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
def r(a, b, flags):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) == 0: return 'ok'
    return errno.errorcode[ctypes.get_errno()]
open('a', 'w').write('A'); open('b', 'w').write('B'); os.mkdir('d'); open('d/x', 'w').close()
print(r('a', 'b', 1), r('a', 'c', 1), r('c', 'a', 0))
print(r('a', 'b', 2), open('a').read(), open('b').read(), r('a', 'd', 2), os.path.isdir('a'), os.listdir('a'), r('a', 'none', 2))
print(r('a', 'b', 3))
PY
