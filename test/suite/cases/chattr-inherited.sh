# What is made in a directory has its flags, but for those that mean nothing there.
# groups: chattr dir
python3 - <<'PY'
from lib import *
os.mkdir('d')
if err(setflags, 'd', 0xc0) != 'ok': skip('this filesystem has no such flags')
put('d/f'); os.mkdir('d/e'); put('d/e/g'); print([f'{getflags(n) & 0xc0:x}' for n in ('d', 'd/f', 'd/e', 'd/e/g')])
put('elsewhere'); os.rename('elsewhere', 'd/moved'); os.link('d/f', 'linked'); print([f'{getflags(n) & 0xc0:x}' for n in ('d/moved', 'linked')])
fd = os.open('d', os.O_TMPFILE | os.O_RDWR); linkat(fd, 'd/t'); print(f"{getflags('d/t') & 0xc0:x}"); print(err(setflags, 'd/f', 0x10000))
PY
