# Whom a new file belongs to: user and group of who makes it, whatever the two are together, and the directory's group under setgid.
[ "$(id -u)" = 0 ] || { echo 'needs root'; exit 77; }
chmod 777 .; setpriv --reuid=65534 --regid=65534 --clear-groups stat . >/dev/null 2>&1 || { echo 'other users may not enter: mount with allow_other'; exit 77; }
mkdir setgid; chown 7:8 setgid; chmod 2777 setgid
for who in '--reuid=0 --regid=0' '--reuid=0 --regid=65534' '--reuid=65534 --regid=0' '--reuid=65534 --regid=65533'; do
  setpriv $who --clear-groups sh -c 'umask 0; touch f; mkdir d; mkfifo p; ln -s t l; touch setgid/f; mkdir setgid/d; stat -c "%n %u:%g %a" f d p l setgid/f setgid/d; rm -r f d p l setgid/*'
done
