# Records of 1,000 bytes that five processes append stay whole and complete.
# groups: data race
python3 - <<'PY'
from lib import *
def work(p):
    fd = os.open('f', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for i in range(60): os.write(fd, (b'%d:%03d ' % (p, i)).ljust(999, b'.') + b'\n')
print(together([lambda p=p: work(p) for p in range(5)]))
lines = get('f').split(b'\n'); print(len(lines), {len(l) for l in lines}, len(set(lines)))
for p in range(5): print([l[:5] for l in lines if l.startswith(b'%d:' % p)] == [b'%d:%03d' % (p, i) for i in range(60)])
PY
