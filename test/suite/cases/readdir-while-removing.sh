# Every file is seen once while a listing goes on and files vanish.
# groups: readdir
python3 - <<'PY'
import os
for i in range(3000): open(f'file-{i:05}', 'w').close()
seen = 0
with os.scandir('.') as it:
    for e in it:
        os.unlink(e.name); seen += 1
print(seen, os.listdir('.'))
PY
