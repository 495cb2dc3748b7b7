# What rmdir and unlink refuse, by errno.
# groups: errno dir
python3 - <<'PY'
import os, errno
def err(f, *a):
    try: f(*a); return 'ok'
    except OSError as e: return errno.errorcode[e.errno]
os.mkdir('d'); os.mkdir('d/e'); open('f', 'w').close()
print(err(os.rmdir, 'd'), err(os.rmdir, 'f'), err(os.rmdir, 'none'), err(os.unlink, 'd/e') in ('EISDIR', 'EPERM'))
print(err(os.rmdir, 'd/.'), err(os.rmdir, 'd/e/..'))
print(err(os.rmdir, 'd/e'), err(os.rmdir, 'd'), os.listdir('.'))
PY
