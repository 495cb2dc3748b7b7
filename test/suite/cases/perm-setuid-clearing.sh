# Writing, truncating and chown take setuid and setgid away from ordinary users' files.
# groups: perm
python3 - <<'PY'
from lib import *
needs_root()
os.chmod('.', 0o777)
def body():
    for what, call in (('write', lambda: put('f', 'x')), ('truncate', lambda: os.truncate('f', 0)), ('chown', lambda: os.chown('f', -1, 777)), ('chmod', lambda: os.chmod('f', 0o6755)), ('append', lambda: put('f', 'x', os.O_APPEND))): 
        os.chmod('f', 0o6777); call(); print(what, mode('f'))
put('f'); os.chown('f', 12345, 12345); as_user(body, groups=(777,)); os.chmod('f', 0o6755); os.chown('f', 0, 0); print(mode('f')); os.chmod('f', 0o2644); os.chown('f', 0, 0); print(mode('f'))
PY
