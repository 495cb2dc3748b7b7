# Directories 300 deep: made, walked, and removed.
# groups: dir
python3 - <<'PY'
from lib import *
here = os.getcwd()
for i in range(300): os.mkdir('d'); os.chdir('d')
put('f', 'deep'); fd = os.open('.', os.O_RDONLY); depth = 0
while os.stat('.').st_ino != os.stat(here).st_ino: os.chdir('..'); depth += 1
print(depth, os.read(os.open('f', os.O_RDONLY, dir_fd=fd), 10)); subprocess.run(['rm', '-rf', 'd']); print(os.listdir('.'))
PY
