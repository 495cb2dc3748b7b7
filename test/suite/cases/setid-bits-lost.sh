# Who may not keep setuid and setgid takes them away by changing the contents, in whatever way; root does not.
[ "$(id -u)" = 0 ] || { echo 'needs root'; exit 77; }
as_user() { setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"; }
chmod 777 .; as_user stat . >/dev/null 2>&1 || { echo 'other users may not enter: mount with allow_other'; exit 77; }
fresh() { rm -f f; head -c 8192 /dev/zero >f; chown 65534:0 f; chmod "$1" f; }
for mode in 6777 6666 2766 4755; do
  for change in 'printf x' 'fallocate -l 16384' 'fallocate -p -l 4096' 'truncate -s 5'; do
    fresh $mode
    case $change in
      printf*) as_user sh -c 'printf x 1<>f >&1' ;;
      *) as_user $change f ;;
    esac
    echo "user, $mode, $change: $(stat -c %a f)"
  done
done
for change in 'fallocate -l 16384' 'fallocate -p -l 4096' 'truncate -s 5'; do
  fresh 6777; chown 0:0 f; chmod 6777 f; $change f; echo "root, 6777, $change: $(stat -c %a f)"
done
