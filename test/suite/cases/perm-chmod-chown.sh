# Who may change mode, owner, group and times.
# groups: perm errno
python3 - <<'PY'
from lib import *
needs_root()
os.chmod('.', 0o755); put('mine'); put('theirs'); os.chown('mine', 12345, 12345)
def body():
    for f in ('mine', 'theirs'): print(f, err(os.chmod, f, 0o666), err(os.chown, f, 1, -1), err(os.chown, f, -1, 777), err(os.chown, f, -1, 888), err(os.chown, f, -1, -1), err(os.utime, f), err(os.utime, f, (1, 1)), err(os.truncate, f, 0))
as_user(body, groups=(777,)); print(mode('mine'), os.stat('mine').st_gid)
PY
