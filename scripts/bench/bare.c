// The measure that the benchmark compares with: a filesystem in memory on /dev/fuse with one thread, one read(2) and one writev(2) a request, and no
// library. What it reaches is what the kernel leaves to any daemon. Usage: bare MOUNTPOINT [SECONDS]: mounts (as root), serves until the unmount;
// SECONDS is how long the kernel may keep attributes and names. Prints READY once INIT is answered.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_WRITE (1u << 20)
#define BUCKETS (1u << 17)

struct ent {
  struct ent *next;
  uint64_t parent, ino;
  size_t index;
  char name[];
};

struct node {
  uint32_t mode, nlink, uid, gid, rdev;
  uint64_t size, capacity, lookups, parent;
  struct timespec atime, mtime, ctime;
  char *data;
  struct ent **ents;
  size_t nents, aents, live;
};

static struct node **nodes;
static uint64_t nnodes = 1, anodes;
static struct ent *hash[BUCKETS];
static int dev;
static uint64_t unique, validity = 1;
static char out[MAX_WRITE + 4096];

static struct timespec now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME_COARSE, &t);
  return t;
}

static uint32_t bucket(uint64_t parent, const char *name) {
  uint64_t h = parent * 0x9e3779b97f4a7c15u;
  for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
  return (h ^ h >> 32) & (BUCKETS - 1);
}

static struct ent *find(uint64_t parent, const char *name) {
  struct ent *e = hash[bucket(parent, name)];
  while (e && (e->parent != parent || strcmp(e->name, name))) e = e->next;
  return e;
}

static uint64_t new_node(uint32_t mode, const struct fuse_in_header *in) {
  if (nnodes >= anodes) nodes = realloc(nodes, (anodes = anodes ? anodes * 2 : 1024) * sizeof *nodes);
  struct node *n = calloc(1, sizeof *n);
  n->mode = mode, n->uid = in ? in->uid : 0, n->gid = in ? in->gid : 0, n->nlink = S_ISDIR(mode) ? 2 : 0;
  n->atime = n->mtime = n->ctime = now();
  nodes[nnodes] = n;
  return nnodes++;
}

static void link_ent(uint64_t parent, const char *name, uint64_t ino) {
  struct node *dir = nodes[parent];
  struct ent *e = malloc(sizeof *e + strlen(name) + 1);
  uint32_t b = bucket(parent, name);
  strcpy(e->name, name);
  e->parent = parent, e->ino = ino, e->next = hash[b], hash[b] = e, e->index = dir->nents;
  if (dir->nents == dir->aents) dir->ents = realloc(dir->ents, (dir->aents = dir->aents ? dir->aents * 2 : 8) * sizeof *dir->ents);
  dir->ents[dir->nents++] = e, dir->live++;
  dir->mtime = dir->ctime = now();
  if (S_ISDIR(nodes[ino]->mode)) dir->nlink++, nodes[ino]->parent = parent;
  else nodes[ino]->nlink++;
}

static void maybe_free(uint64_t ino) {
  struct node *n = nodes[ino];
  if (n && n->nlink == 0 && n->lookups == 0) {
    free(n->data), free(n->ents), free(n);
    nodes[ino] = NULL;
  }
}

static void unlink_ent(struct ent *e) {
  struct node *dir = nodes[e->parent], *n = nodes[e->ino];
  struct ent **p = &hash[bucket(e->parent, e->name)];
  while (*p != e) p = &(*p)->next;
  *p = e->next;
  dir->ents[e->index] = NULL;
  if (--dir->live == 0) dir->nents = 0;
  dir->mtime = dir->ctime = n->ctime = now();
  if (S_ISDIR(n->mode)) dir->nlink--, n->nlink = 0;
  else n->nlink--;
  maybe_free(e->ino);
  free(e);
}

static void send_reply(int error, const void *head, size_t size, const void *data, size_t length) {
  struct fuse_out_header header = {.len = sizeof header + size + length, .error = -error, .unique = unique};
  struct iovec v[3] = {{&header, sizeof header}, {(void *)head, size}, {(void *)data, length}};
  if (writev(dev, v, length ? 3 : size ? 2 : 1) < 0 && errno != ENOENT) perror("writev");
}
static void fail(int error) { send_reply(error, NULL, 0, NULL, 0); }
static void done(const void *body, size_t size) { send_reply(0, body, size, NULL, 0); }

static void fill(struct fuse_attr *a, uint64_t ino) {
  struct node *n = nodes[ino];
  memset(a, 0, sizeof *a);
  a->ino = ino, a->size = S_ISDIR(n->mode) ? 4096 : n->size, a->blocks = (a->size + 511) / 512, a->mode = n->mode, a->nlink = n->nlink;
  a->uid = n->uid, a->gid = n->gid, a->rdev = n->rdev, a->blksize = 4096;
  a->atime = n->atime.tv_sec, a->atimensec = n->atime.tv_nsec, a->mtime = n->mtime.tv_sec, a->mtimensec = n->mtime.tv_nsec;
  a->ctime = n->ctime.tv_sec, a->ctimensec = n->ctime.tv_nsec;
}

static void fill_entry(struct fuse_entry_out *o, uint64_t ino) {
  memset(o, 0, sizeof *o);
  o->nodeid = ino, o->entry_valid = o->attr_valid = validity;
  fill(&o->attr, ino);
  nodes[ino]->lookups++;
}

static void entry(uint64_t ino) {
  struct fuse_entry_out o;
  fill_entry(&o, ino);
  done(&o, sizeof o);
}

static void resize(struct node *n, uint64_t size) {
  if (size > n->capacity) {
    uint64_t want = n->capacity * 2 > size ? n->capacity * 2 : size;
    if (want < 256) want = 256;
    n->data = realloc(n->data, want);
    memset(n->data + n->capacity, 0, want - n->capacity);
    n->capacity = want;
  } else if (size < n->size) memset(n->data + size, 0, n->size - size);
  n->size = size;
}

static void setattr(struct node *n, uint64_t ino, const struct fuse_setattr_in *s) {
  if (s->valid & FATTR_MODE) n->mode = (n->mode & S_IFMT) | (s->mode & 07777);
  if (s->valid & FATTR_UID) n->uid = s->uid;
  if (s->valid & FATTR_GID) n->gid = s->gid;
  if (s->valid & FATTR_SIZE) resize(n, s->size), n->mtime = now();
  if (s->valid & FATTR_ATIME) n->atime = s->valid & FATTR_ATIME_NOW ? now() : (struct timespec){s->atime, s->atimensec};
  if (s->valid & FATTR_MTIME) n->mtime = s->valid & FATTR_MTIME_NOW ? now() : (struct timespec){s->mtime, s->mtimensec};
  n->ctime = now();
  struct fuse_attr_out o = {.attr_valid = validity};
  fill(&o.attr, ino);
  done(&o, sizeof o);
}

static void readdir(uint64_t ino, const struct fuse_read_in *r, int plus) {
  struct node *dir = nodes[ino];
  size_t at = 0, head = plus ? sizeof(struct fuse_entry_out) : 0;
  for (uint64_t i = r->offset; i < dir->nents + 2; i++) {
    struct ent *e = i < 2 ? NULL : dir->ents[i - 2];
    if (i >= 2 && !e) continue;
    const char *name = i == 0 ? "." : i == 1 ? ".." : e->name;
    uint64_t child = i == 0 ? ino : i == 1 ? (dir->parent ? dir->parent : 1) : e->ino;
    size_t length = strlen(name), size = FUSE_DIRENT_ALIGN(head + FUSE_NAME_OFFSET + length);
    if (at + size > r->size) break;
    memset(out + at, 0, size);
    if (plus && e) fill_entry((struct fuse_entry_out *)(out + at), child);
    struct fuse_dirent *d = (struct fuse_dirent *)(out + at + head);
    d->ino = child, d->off = i + 1, d->namelen = length, d->type = (nodes[child]->mode & S_IFMT) >> 12;
    memcpy(d->name, name, length);
    at += size;
  }
  done(out, at);
}

static void rename_ent(uint64_t from, const char *a, uint64_t to, const char *b, uint32_t flags) {
  struct ent *e = find(from, a), *victim = find(to, b);
  if (!e) return fail(ENOENT);
  if (flags & ~1u) return fail(EINVAL);
  if (victim && flags) return fail(EEXIST);
  if (victim && victim->ino == e->ino) return fail(0);
  if (victim && S_ISDIR(nodes[victim->ino]->mode) && nodes[victim->ino]->live) return fail(ENOTEMPTY);
  uint64_t ino = e->ino;
  nodes[ino]->lookups++;
  if (victim) unlink_ent(victim);
  unlink_ent(e);
  if (S_ISDIR(nodes[ino]->mode)) nodes[ino]->nlink = 2;
  link_ent(to, b, ino);
  nodes[ino]->lookups--;
  fail(0);
}

static void handle(char *message) {
  struct fuse_in_header *in = (struct fuse_in_header *)message;
  void *arg = message + sizeof *in;
  char *name = arg;
  uint64_t id = in->nodeid;
  struct node *n = id && id < nnodes ? nodes[id] : NULL;
  struct ent *e;
  unique = in->unique;
  switch (in->opcode) {
    case FUSE_INIT: {
      struct fuse_init_in *i = arg;
      struct fuse_init_out o = {.major = 7, .minor = 31, .max_readahead = i->max_readahead, .max_write = MAX_WRITE, .max_pages = MAX_WRITE / 4096};
      o.flags = i->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_MAX_PAGES |
                            FUSE_ATOMIC_O_TRUNC | FUSE_ASYNC_DIO);
      o.max_background = 12, o.congestion_threshold = 9;
      done(&o, sizeof o);
      puts("READY"), fflush(stdout);
      break;
    }
    case FUSE_LOOKUP:
      if ((e = find(id, name))) entry(e->ino);
      else fail(ENOENT);
      break;
    case FUSE_GETATTR: {
      struct fuse_attr_out o = {.attr_valid = validity};
      fill(&o.attr, id);
      done(&o, sizeof o);
      break;
    }
    case FUSE_SETATTR: setattr(n, id, arg); break;
    case FUSE_READ: {
      struct fuse_read_in *r = arg;
      uint64_t left = r->offset < n->size ? n->size - r->offset : 0;
      send_reply(0, NULL, 0, n->data + r->offset, left < r->size ? left : r->size);
      break;
    }
    case FUSE_WRITE: {
      struct fuse_write_in *w = arg;
      struct fuse_write_out o = {.size = w->size};
      if (w->offset + w->size > n->size) resize(n, w->offset + w->size);
      memcpy(n->data + w->offset, w + 1, w->size);
      n->mtime = n->ctime = now();
      done(&o, sizeof o);
      break;
    }
    case FUSE_CREATE: {
      struct fuse_create_in *c = arg;
      struct { struct fuse_entry_out entry; struct fuse_open_out open; } o = {0};
      name = (char *)(c + 1);
      uint64_t ino = (e = find(id, name)) ? e->ino : new_node(c->mode, in);
      if (!e) link_ent(id, name, ino);
      fill_entry(&o.entry, ino);
      done(&o, sizeof o);
      break;
    }
    case FUSE_MKNOD:
    case FUSE_MKDIR: {
      struct fuse_mknod_in *m = arg;
      struct fuse_mkdir_in *d = arg;
      int dir = in->opcode == FUSE_MKDIR;
      name = dir ? (char *)(d + 1) : (char *)(m + 1);
      if (find(id, name)) { fail(EEXIST); break; }
      uint64_t ino = new_node(dir ? S_IFDIR | (d->mode & 07777) : m->mode, in);
      if (!dir) nodes[ino]->rdev = m->rdev;
      link_ent(id, name, ino);
      entry(ino);
      break;
    }
    case FUSE_SYMLINK: {
      char *target = name + strlen(name) + 1;
      uint64_t ino = new_node(S_IFLNK | 0777, in);
      resize(nodes[ino], strlen(target));
      memcpy(nodes[ino]->data, target, strlen(target));
      link_ent(id, name, ino);
      entry(ino);
      break;
    }
    case FUSE_LINK: {
      struct fuse_link_in *l = arg;
      link_ent(id, (char *)(l + 1), l->oldnodeid);
      entry(l->oldnodeid);
      break;
    }
    case FUSE_UNLINK:
    case FUSE_RMDIR:
      if (!(e = find(id, name))) fail(ENOENT);
      else if (in->opcode == FUSE_RMDIR && nodes[e->ino]->live) fail(ENOTEMPTY);
      else unlink_ent(e), fail(0);
      break;
    case FUSE_RENAME: {
      struct fuse_rename_in *r = arg;
      name = (char *)(r + 1);
      rename_ent(id, name, r->newdir, name + strlen(name) + 1, 0);
      break;
    }
    case FUSE_RENAME2: {
      struct fuse_rename2_in *r = arg;
      name = (char *)(r + 1);
      rename_ent(id, name, r->newdir, name + strlen(name) + 1, r->flags);
      break;
    }
    case FUSE_READLINK: send_reply(0, NULL, 0, n->data, n->size); break;
    case FUSE_READDIR: readdir(id, arg, 0); break;
    case FUSE_READDIRPLUS: readdir(id, arg, 1); break;
    case FUSE_OPEN:
    case FUSE_OPENDIR: {
      struct fuse_open_out o = {0};
      if (in->opcode == FUSE_OPEN && (*(uint32_t *)arg & O_TRUNC)) resize(n, 0);
      done(&o, sizeof o);
      break;
    }
    case FUSE_STATFS: {
      struct fuse_statfs_out o = {.st = {.blocks = 1 << 20, .bfree = 1 << 19, .bavail = 1 << 19, .files = 1 << 20, .ffree = 1 << 19, .bsize = 4096, .namelen = 255, .frsize = 4096}};
      done(&o, sizeof o);
      break;
    }
    case FUSE_FORGET:
      if (n) n->lookups -= ((struct fuse_forget_in *)arg)->nlookup, maybe_free(id);
      break;
    case FUSE_BATCH_FORGET: {
      struct fuse_batch_forget_in *b = arg;
      struct fuse_forget_one *one = (struct fuse_forget_one *)(b + 1);
      for (uint32_t i = 0; i < b->count; i++)
        if (one[i].nodeid < nnodes && nodes[one[i].nodeid]) nodes[one[i].nodeid]->lookups -= one[i].nlookup, maybe_free(one[i].nodeid);
      break;
    }
    case FUSE_INTERRUPT: break;
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FLUSH:
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
    case FUSE_DESTROY: fail(0); break;
    default: fail(ENOSYS);
  }
}

int main(int argc, char **argv) {
  static char message[MAX_WRITE + 8192];
  char options[200];
  if (argc < 2) return fprintf(stderr, "usage: bare MOUNTPOINT [SECONDS]\n"), 2;
  if (argc > 2) validity = strtoull(argv[2], NULL, 10);
  if ((dev = open("/dev/fuse", O_RDWR | O_CLOEXEC)) < 0) return perror("/dev/fuse"), 1;
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other,default_permissions", dev, getuid(), getgid());
  if (mount("bare", argv[1], "fuse.bare", MS_NOSUID | MS_NODEV, options) < 0) return perror("mount"), 1;
  new_node(S_IFDIR | 0755, NULL);
  for (;;) {
    ssize_t size = read(dev, message, sizeof message);
    if (size > 0) handle(message);
    else if (errno == ENODEV) return 0;
    else if (errno != EINTR && errno != ENOENT && errno != EAGAIN) return perror("read"), 1;
  }
}
