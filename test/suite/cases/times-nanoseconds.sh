# utimensat: nanoseconds, before 1970, after 2038, OMIT and NOW.
# groups: times
python3 - <<'PY'
from lib import *
put('f')
for a, m in ((1, 999999999), (-1, -1000000001), (2**32 * 10**9 + 5, 2**33 * 10**9 + 7)): os.utime('f', ns=(a, m)); s = os.stat('f'); print(s.st_atime_ns == a, s.st_mtime_ns == m)
NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2
def utimens(*t): check(libc.utimensat(AT_FDCWD, b'f', struct.pack('qqqq', *t), 0))
utimens(5, 6, 7, 8); utimens(0, OMIT, 9, 10); s = os.stat('f'); print(s.st_atime_ns, s.st_mtime_ns); utimens(0, NOW, 0, OMIT); s = os.stat('f'); print(s.st_atime_ns > 10**18, s.st_mtime_ns); print(err(utimens, 0, 10**9, 0, 0))
PY
