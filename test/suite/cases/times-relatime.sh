# relatime: a read moves an old atime, not a recent one; O_NOATIME and execution as well.
# groups: times
python3 - <<'PY'
from lib import *
if not any(l.split()[5].find('relatime') >= 0 for l in open('/proc/self/mountinfo') if os.path.realpath('.').startswith(l.split()[4]) and l.split()[4] != '/'): skip('this mount has another atime mode than relatime')
put('f', 'x'); os.utime('f', ns=(10**9, os.stat('f').st_mtime_ns)); time.sleep(0.02); get('f'); os.stat('f'); print(until(lambda: os.stat('f').st_atime_ns > 10**18))
a = os.stat('f').st_atime_ns; time.sleep(0.02); get('f'); print(os.stat('f').st_atime_ns == a); os.utime('f', ns=(10**9, 10**9)); fd = os.open('f', os.O_RDONLY | os.O_NOATIME); os.read(fd, 1); print(os.stat('f').st_atime_ns)
# A change, then a read of it, in turns and through a file that is opened each time: mail readers live on this.
put('m', 'x' * 8192)
for _ in range(3):
    get('m'); time.sleep(0.02); put('m', 'new', os.O_APPEND); time.sleep(0.02); get('m'); s = os.stat('m'); print(s.st_atime_ns > s.st_mtime_ns)
PY
