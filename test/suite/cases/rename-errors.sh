# What rename refuses, by errno.
# groups: rename
python3 - <<'PY'
import os, errno
def err(f, *a):
    try: f(*a); return 'ok'
    except OSError as e: return errno.errorcode[e.errno]
os.makedirs('d/sub'); os.mkdir('empty'); open('f', 'w').close(); open('d/x', 'w').close()
print(err(os.rename, 'd', 'd/sub/d'), err(os.rename, 'f', 'd'), err(os.rename, 'd', 'f'))
print(err(os.rename, 'empty', 'd'), err(os.rename, 'none', 'f'), err(os.rename, 'f', 'f/x'))
print(err(os.rename, 'f', 'n' * 256), err(os.rename, 'd', 'empty'), sorted(os.listdir('empty')))
PY
