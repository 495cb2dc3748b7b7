# The current directory can be removed; then nothing can be made in it.
# groups: dir errno
python3 - <<'PY'
from lib import *
os.mkdir('d'); os.chdir('d'); os.rmdir('../d')
print(os.listdir('.'), err(put, 'f'), err(os.mkdir, 'e'), err(os.stat, '..'), err(os.getcwd))
PY
