# statx gives a birth time that no operation changes.
# groups: times
python3 - <<'PY'
from lib import *
put('f'); b = statx('f'); 
if not b.mask & 0x800: skip('this filesystem keeps no birth time')
first = (b.btime.sec, b.btime.nsec); time.sleep(0.02); put('f', 'x'); os.chmod('f', 0o600); os.utime('f', ns=(1, 1)); os.rename('f', 'g'); os.link('g', 'h'); b = statx('h'); print(first == (b.btime.sec, b.btime.nsec), abs(first[0] - time.time()) < 300, b.mtime.sec)
PY
