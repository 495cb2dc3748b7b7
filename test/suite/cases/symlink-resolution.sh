# Relative, absolute, with dots, through directories, and with a trailing slash.
# groups: symlink
python3 - <<'PY'
from lib import *
os.makedirs('d/e'); put('d/f', 'found')
os.symlink('d/f', 'rel'); os.symlink(os.getcwd() + '/d/f', 'abs'); os.symlink('../f', 'd/e/up'); os.symlink('d', 'dir'); os.symlink('d/f', 'file')
print(get('rel'), get('abs'), get('d/e/up'), get('dir/e/../f'), err(os.stat, 'file/'), err(os.lstat, 'dir/'), stat.S_ISDIR(os.lstat('dir/').st_mode))
print(err(os.rmdir, 'dir'), err(os.unlink, 'dir'), os.path.isdir('d'))
PY
