# Modes at creation, chmod, and the sticky, setuid and setgid bits.
# groups: perm
umask 027; touch f; mkdir d; stat -c %a f d
chmod 4755 f; stat -c %a f; chmod 1777 d; stat -c %a d
mkdir g; chmod 2775 g; mkdir g/sub; stat -c %a g/sub
umask 0; mkfifo p; stat -c '%F %a' p
