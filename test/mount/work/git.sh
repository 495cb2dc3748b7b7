# A history of 2,000 commits: imported, cloned with links and through the pack protocol, checked, changed, pushed, packed again, merged, stashed and searched.
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
unchanged() { [ -z "$(git status --porcelain)" ] && git diff-files --quiet; }
git worktree add -q ../tree HEAD~30
(cd ../tree; unchanged; git mv d3/f3 renamed; chmod +x d4/f4; git commit -qam renamed; unchanged)
git merge -q -m merged "$(git -C ../tree rev-parse HEAD)"
unchanged; [ -x d4/f4 ]; git worktree remove ../tree
echo stashed >>d4/f4; : >untracked; git stash -q -u
unchanged; git stash pop -q
[ "$(git status --porcelain | wc -l)" = 2 ]; git checkout -q d4/f4; rm untracked
unchanged; git bisect start HEAD HEAD~100 >../bisect 2>&1
git bisect run sh -c '[ "$(git rev-list --count HEAD)" -lt 1950 ]' >>../bisect 2>&1
[ "$(git rev-list --count refs/bisect/bad)" = 1950 ]; git bisect reset >>../bisect 2>&1
unchanged
cd .. && rm -rf bisect copy far origin.git .gitconfig
