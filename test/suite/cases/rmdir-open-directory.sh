# A removed directory that is open is empty, and takes nothing new.
# groups: dir unlink
python3 - <<'PY'
from lib import *
os.mkdir('d'); fd = os.open('d', os.O_RDONLY); os.rmdir('d')
print(os.listdir(fd), os.fstat(fd).st_nlink, err(os.open, 'f', os.O_CREAT | os.O_WRONLY, dir_fd=fd), err(os.mkdir, 'e', dir_fd=fd), err(os.symlink, 'x', 's', dir_fd=fd))
PY
