# A history of 2,000 commits: imported, cloned with links and through the pack protocol, checked, changed, pushed and packed again.
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
git config --global user.name n && git config --global user.email n@localhost && git config --global gc.auto 0
git init -q --bare -b main origin.git
seq 1 2000 | awk '{ m = "change " $1; f = "text of change " $1 "\n"
  printf "commit refs/heads/main\ncommitter n <n@localhost> %d +0000\ndata %d\n%s\n", 1700000000 + $1 * 60, length(m), m
  printf "M 100644 inline d%d/f%d\ndata %d\n%s\n", $1 % 40, $1 % 600, length(f), f }' | git -C origin.git fast-import --quiet
git clone -q origin.git copy
git clone -q --no-local origin.git far
git -C copy fsck --strict --no-progress
[ "$(git -C far rev-list --count main)" = 2000 ]
diff -r --exclude=.git copy far
cd copy
for i in $(seq 1 100); do echo "edit $i" >>"d$((i % 40))/new$i"; done
git mv d1 moved && git rm -qr d2 && git add . && git commit -qm edits && git push -q origin main
git checkout -q HEAD~500 && git checkout -q main
[ -z "$(git status --porcelain)" ]
git gc -q && git fsck --strict --no-progress
git -C ../far pull -q && diff -r --exclude=.git . ../far
cd .. && rm -rf copy far origin.git .gitconfig
