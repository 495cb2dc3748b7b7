# chown(2) that leaves both ids as they are takes setuid, setgid and capabilities away and moves the ctime all the same; not on somebody else's file.
# groups: perm
python3 - <<'PY'
from lib import *
needs_root(); needs_others(); os.chmod('.', 0o777)
capability = struct.pack('<IIIII', 0x02000001, 0x2000, 0, 0, 0)
for bits in (0o6755, 0o4755, 0o2755, 0o2644, 0o755):
    for who in (0, 12345, 54321):
        put('f', mode=0o600); os.chown('f', 12345, 12345); os.chmod('f', bits); before = os.stat('f').st_ctime_ns; time.sleep(0.02)
        as_user(lambda: err(os.chown, 'f', -1, -1), who, who)
        # What becomes of a stranger's call depends on who asks whom: that nothing is taken away does not.
        moved = '' if who == 54321 else os.stat('f').st_ctime_ns > before
        print(f'{bits:o} by {who}:', mode('f'), moved); os.unlink('f')
put('c', mode=0o755); os.chown('c', 12345, 12345); os.setxattr('c', 'security.capability', capability); as_user(lambda: os.chown('c', -1, -1)); print(os.listxattr('c'))
os.mkdir('d'); os.chmod('d', 0o6777); os.chown('d', -1, -1); print(mode('d'))
for name, make in (('pipe', os.mkfifo), ('directory', os.mkdir), ('link', lambda name: os.symlink('x', name))):
    make(name); before = os.lstat(name).st_ctime_ns; time.sleep(0.02)
    as_user(lambda: os.chown(name, -1, -1, follow_symlinks=False), 54321, 54321); print(name, os.lstat(name).st_ctime_ns > before)
PY
