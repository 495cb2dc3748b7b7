# Programs and scripts run from here; one that runs cannot be written.
# groups: mmap perm
python3 - <<'PY'
from lib import *
shutil.copy('/bin/sleep', 'prog'); os.chmod('prog', 0o755); p = subprocess.Popen(['./prog', '30']); time.sleep(0.3)
print(err(os.open, 'prog', os.O_WRONLY), err(os.open, 'prog', os.O_RDONLY)); p.kill(); p.wait(); print(until(lambda: err(os.open, 'prog', os.O_WRONLY) == 'ok')); put('script', '#!/bin/sh\necho ran $1\n', mode=0o755); subprocess.run(['./script', 'well'])
PY
