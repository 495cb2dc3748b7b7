# A file handle opens its file, under whatever name, until the last name and the last descriptor are gone: ESTALE.
# groups: unlink errno
python3 - <<'PY'
from lib import *
import ctypes, struct, time
needs_root()
libc = ctypes.CDLL(None, use_errno=True); here = os.open('.', os.O_RDONLY)
def handle(name):
    h = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128), 136)
    if libc.name_to_handle_at(here, name.encode(), h, ctypes.byref(ctypes.c_int()), 0) != 0: skip('this filesystem has no file handles')
    return h
def by(h):
    fd = libc.open_by_handle_at(here, h, os.O_RDONLY)
    if fd < 0: return errno.errorcode[ctypes.get_errno()]
    try: return os.read(fd, 9)
    finally: os.close(fd)
put('f', 'x'); h = handle('f'); os.rename('f', 'g'); print(by(h))
os.mkdir('d'); hd = handle('d'); os.rmdir('d'); kept = os.open('g', os.O_RDONLY); os.unlink('g'); print(by(h)); os.close(kept)
print(until(lambda: by(h) == 'ESTALE'), until(lambda: by(hd) == 'ESTALE'))
put('new', 'y'); print(by(h))
PY
