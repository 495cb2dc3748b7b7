# Which operation changes which time.
# groups: times
python3 - <<'PY'
import os, time
def times(p):
    s = os.stat(p); return (s.st_mtime_ns, s.st_ctime_ns)
def changed(p, f):
    b = times(p); time.sleep(0.02); f(); a = times(p); return ''.join(c if x != y else '-' for c, x, y in zip('mc', b, a))
open('f', 'w').close(); os.mkdir('d')
def w(): 
    with open('f', 'a') as f: f.write('x')
print(changed('f', w), changed('f', lambda: os.chmod('f', 0o600)), changed('f', lambda: os.truncate('f', 10)))
print(changed('f', lambda: os.link('f', 'g')), changed('f', lambda: os.rename('f', 'h') or os.rename('h', 'f')), changed('.', lambda: open('n', 'w').close()))
print(changed('d', lambda: os.mkdir('d/e')), changed('d', lambda: os.rmdir('d/e')), changed('d', lambda: os.listdir('d')))
os.utime('f', ns=(123456789012345678, 987654321098765432)); s = os.stat('f'); print(s.st_atime_ns, s.st_mtime_ns)
PY
