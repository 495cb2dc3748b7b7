# In a setgid directory files get its group, directories the bit as well.
# groups: perm dir
python3 - <<'PY'
from lib import *
needs_root()
os.mkdir('d'); os.chown('d', 0, 777); os.chmod('d', 0o2777)
def body():
    put('d/f'); os.mkdir('d/e'); os.mkdir('d/e/g'); os.mkfifo('d/p'); os.symlink('x', 'd/s'); fd = os.open('d/x', os.O_CREAT | os.O_WRONLY, 0o2755)
    for n in ('f', 'e', 'e/g', 'p', 's', 'x'): print(n, mode('d/' + n) if n != 's' else '', os.lstat('d/' + n).st_gid)
as_user(body)
PY
