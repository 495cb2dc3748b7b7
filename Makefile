# latchfs: the targets that a newcomer needs. `make run` and `make test` work on a fresh clone.
PREFIX ?= /usr/local
# Where mount(8) looks for mount.fuse.latchfs, and nowhere else, and fsck(8) for fsck.latchfs; they are left out where it may not be written.
HELPERDIR ?= /sbin
MNT    ?= mnt
NPM     = npm --no-audit --no-fund --loglevel=error

.PHONY: all run build test lint bench install uninstall pack clean

all: build

# Dependencies: prebuilt packages only, nothing is compiled.
node_modules/.package-lock.json: package.json package-lock.json
	$(NPM) install --no-save
	@touch $@

build: node_modules/.package-lock.json
	node_modules/.bin/tsc

# An in-memory filesystem on ./mnt (which git keeps by a file in it), in the foreground; Ctrl-C unmounts.
run: build
	scripts/latchfs mount memory $(MNT) -f -o nonempty

test: build
	scripts/test

lint: node_modules/.package-lock.json
	node_modules/.bin/biome check .

bench: build
	scripts/bench/run

# Only what runs is installed: neither tests nor the packages that only development needs. What an earlier version has left there goes.
install: build
	rm -rf $(DESTDIR)$(PREFIX)/lib/latchfs
	install -d $(DESTDIR)$(PREFIX)/lib/latchfs/dist $(DESTDIR)$(PREFIX)/bin
	cp package.json README.md LICENSE $(DESTDIR)$(PREFIX)/lib/latchfs/
	cp -r dist/src $(DESTDIR)$(PREFIX)/lib/latchfs/dist/
	npm ls --omit=dev --all --parseable | sed -n 's|^$(CURDIR)/||p' | tar cf - -T - | tar xf - -C $(DESTDIR)$(PREFIX)/lib/latchfs --no-same-owner
	install -d $(DESTDIR)$(PREFIX)/lib/latchfs/scripts
	install -m 755 scripts/latchfs scripts/mount.fuse.latchfs scripts/fsck.latchfs $(DESTDIR)$(PREFIX)/lib/latchfs/scripts/
	ln -sf ../lib/latchfs/scripts/latchfs $(DESTDIR)$(PREFIX)/bin/latchfs
	@install -d $(DESTDIR)$(HELPERDIR) 2>/dev/null && \
	  ln -sf $(abspath $(PREFIX))/lib/latchfs/scripts/mount.fuse.latchfs $(DESTDIR)$(HELPERDIR)/mount.fuse.latchfs 2>/dev/null && \
	  ln -sf $(abspath $(PREFIX))/lib/latchfs/scripts/fsck.latchfs $(DESTDIR)$(HELPERDIR)/fsck.latchfs && \
	  ln -sf fsck.latchfs $(DESTDIR)$(HELPERDIR)/fsck.fuse.latchfs || \
	  echo "$(DESTDIR)$(HELPERDIR) may not be written: 'mount -t fuse.latchfs' and 'fsck -t latchfs' will not work"

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/lib/latchfs $(DESTDIR)$(PREFIX)/bin/latchfs $(DESTDIR)$(HELPERDIR)/mount.fuse.latchfs \
	  $(DESTDIR)$(HELPERDIR)/fsck.latchfs $(DESTDIR)$(HELPERDIR)/fsck.fuse.latchfs

# A package for 'npm install -g ./latchfs-VERSION.tgz': what 'make install' copies, without the dependencies.
pack: build
	npm pack --loglevel=error --pack-destination $(or $(DESTDIR),.)

clean:
	rm -rf dist build .tap *.tsbuildinfo latchfs-*.tgz
