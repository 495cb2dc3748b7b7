// The client side of the benchmark: one kind of system call in a loop, and how many a second. Usage: driver WORK DIRECTORY [SECONDS|COUNT], or
// driver time COMMAND [ARGUMENT...] for how long a command takes. Prints one number: calls a second, MiB a second, or seconds.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE (64u << 20)
#define MIB (1u << 20)

static void must(int ok, const char *what) {
  if (!ok) perror(what), exit(1);
}

static double clock_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static uint64_t seed = 88172645463325252u;
static uint64_t chance(void) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return seed;
}

/** Direct transfers of `block` bytes at random or in order, for `seconds`; the file has its 64 MiB from the `fill` run. */
static double transfer(int writing, int random, size_t block, double seconds) {
  int fd = open("file", (writing ? O_WRONLY : O_RDONLY) | O_DIRECT);
  must(fd >= 0, "file");
  char *buffer = aligned_alloc(4096, block);
  memset(buffer, 'b', block);
  uint64_t count = 0, blocks = SIZE / block;
  double start = clock_now(), end = start + seconds, t;
  do {
    for (int i = 0; i < (block < MIB ? 64 : 4); i++, count++) {
      off_t at = (random ? chance() % blocks : count % blocks) * block;
      ssize_t got = writing ? pwrite(fd, buffer, block, at) : pread(fd, buffer, block, at);
      must(got == (ssize_t)block, "transfer");
    }
  } while ((t = clock_now()) < end);
  close(fd);
  return block < MIB ? count / (t - start) : count * (block / (double)MIB) / (t - start);
}

static void fill(void) {
  int fd = open("file", O_WRONLY | O_CREAT, 0644);
  must(fd >= 0, "file");
  char *buffer = malloc(MIB);
  memset(buffer, 'f', MIB);
  for (off_t at = 0; at < SIZE; at += MIB) must(pwrite(fd, buffer, MIB, at) == MIB, "fill");
  close(fd);
}

enum { CREATE, STAT, OPEN, RENAME, UNLINK };
static double names(int work, long count) {
  char name[40], to[40], data[100];
  struct stat st;
  memset(data, 'd', sizeof data);
  double start = clock_now();
  for (long i = 0; i < count; i++) {
    snprintf(name, sizeof name, work == UNLINK ? "g%06ld" : "f%06ld", i);
    switch (work) {
      case CREATE: {
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        must(fd >= 0 && write(fd, data, sizeof data) == sizeof data && close(fd) == 0, "create");
        break;
      }
      case STAT: must(stat(name, &st) == 0, "stat"); break;
      case OPEN: {
        int fd = open(name, O_RDONLY);
        must(fd >= 0 && read(fd, data, sizeof data) == sizeof data && close(fd) == 0, "open");
        break;
      }
      case RENAME:
        snprintf(to, sizeof to, "g%06ld", i);
        must(rename(name, to) == 0, "rename");
        break;
      case UNLINK: must(unlink(name) == 0, "unlink"); break;
    }
  }
  return count / (clock_now() - start);
}

/** Entries a second that getdents64 gives, over whole listings for `seconds`. */
static double list(double seconds) {
  static char buffer[32768];
  uint64_t count = 0;
  double start = clock_now(), t;
  do {
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    must(fd >= 0, "opendir");
    for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;)
      for (char *p = buffer; p < buffer + n; p += *(unsigned short *)(p + 16)) count++;
    close(fd);
  } while ((t = clock_now()) - start < seconds);
  return count / (t - start);
}

static double timed(char **command) {
  double start = clock_now();
  int status = 0;
  pid_t pid = fork();
  if (pid == 0) {
    dup2(open("/dev/null", O_WRONLY), 1);
    execvp(command[0], command);
    _exit(127);
  }
  must(waitpid(pid, &status, 0) == pid, "wait");
  if (status != 0) fprintf(stderr, "%s ended with status %d\n", command[0], status), exit(1);
  return clock_now() - start;
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: driver WORK DIRECTORY [SECONDS|COUNT] | driver time COMMAND...\n"), 2;
  const char *work = argv[1];
  double amount = argc > 3 ? atof(argv[3]) : 1, result = 0;
  if (!strcmp(work, "time")) return printf("%.6f\n", timed(argv + 2)), 0;
  must(chdir(argv[2]) == 0, argv[2]);
  if (!strcmp(work, "fill")) fill();
  else if (!strcmp(work, "read4k")) result = transfer(0, 1, 4096, amount);
  else if (!strcmp(work, "write4k")) result = transfer(1, 1, 4096, amount);
  else if (!strcmp(work, "read1m")) result = transfer(0, 0, MIB, amount);
  else if (!strcmp(work, "write1m")) result = transfer(1, 0, MIB, amount);
  else if (!strcmp(work, "create")) result = names(CREATE, amount);
  else if (!strcmp(work, "stat")) result = names(STAT, amount);
  else if (!strcmp(work, "open")) result = names(OPEN, amount);
  else if (!strcmp(work, "rename")) result = names(RENAME, amount);
  else if (!strcmp(work, "unlink")) result = names(UNLINK, amount);
  else if (!strcmp(work, "readdir")) result = list(amount);
  else return fprintf(stderr, "driver: no work '%s'\n", work), 2;
  return printf("%.3f\n", result), 0;
}
