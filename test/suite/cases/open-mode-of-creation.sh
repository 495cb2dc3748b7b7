# A file that is created read-only can be written through the descriptor that created it.
# groups: create perm
python3 - <<'PY'
from lib import *
def body():
    fd = os.open('f', os.O_RDWR | os.O_CREAT, 0o400); os.write(fd, b'written'); print(err(os.open, 'f', os.O_WRONLY), os.pread(fd, 10, 0)); 
    fd = os.open('g', os.O_RDWR | os.O_CREAT, 0); os.write(fd, b'x'); print(err(os.open, 'g', os.O_RDONLY))
os.chmod('.', 0o777); print(as_user(body) if os.geteuid() == 0 else in_child(body))
PY
