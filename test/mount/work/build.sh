# A C project of 80 files, a library and a generated header: built in parallel, rebuilt in part, run from the mount.
mkdir c && cd c && mkdir src
for i in $(seq 1 80); do printf '#include "all.h"\nint f%d(void) { return %d + OFFSET; }\n' "$i" "$i" >"src/f$i.c"; done
{ echo '#include "all.h"'; echo 'int main(int argc, char **argv) { (void)argv; int sum = 0;'
  for i in $(seq 1 80); do echo "  sum += f$i();"; done; echo '  return argc > 1 ? 2 : sum != 3240 + 80 * OFFSET; }'; } >src/main.c
cat >Makefile <<'MAKE'
OBJ = $(patsubst src/%.c,obj/%.o,$(filter-out src/main.c,$(wildcard src/*.c)))
prog: obj/main.o libf.a
	$(CC) -o $@ $^
libf.a: $(OBJ)
	rm -f $@ && $(AR) rcs $@ $^
obj/%.o: src/%.c all.h | obj
	$(CC) -I. -MMD -c -o $@ $<
obj:
	mkdir -p obj
all.h:
	{ echo '#define OFFSET 0'; for i in $$(seq 1 80); do echo "int f$$i(void);"; done; } >$@.new && mv $@.new $@
-include $(wildcard obj/*.d)
MAKE
make -s -j4 && ./prog && make -q
sleep 0.05 && sed -i 's/OFFSET 0/OFFSET 3/' all.h && ! make -q && make -s -j4 && ./prog && make -q
sleep 0.05 && touch src/f7.c && [ "$(make -n | grep -c -- ' -c ')" = 1 ] && make -s -j4 && ./prog
strip prog && ./prog && cp prog other && ./other
cd .. && rm -rf c
