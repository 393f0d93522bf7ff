/* A disk that can lose power, fill up, break, and say how much room it has.
 *
 * Preloaded into the server under test (LD_PRELOAD). It watches the database named by DISK_FILE and the files beside it
 * whose names begin with that name, `-wal` and `-journal`, and leaves everything else alone.
 *
 * POWER. What a process writes goes into the page cache, which survives the process but not the machine. So this keeps
 * in the folder DISK_PLATTER a second copy of each file, and puts into it only what would survive:
 *
 *   - what was written to a file, or cut off its end, when that file is synced;
 *   - that a file was made or unlinked, when the folder is synced.
 *
 * Whoever kills the process with -9 and goes on with the files of the platter has seen a power cut. A kernel may also
 * write back early and in any order: of a hundred writes, DISK_LEAK reach the platter without a sync.
 *
 * `-shm` is memory that SQLite makes anew whenever it finds nobody else there, so it is not kept.
 *
 * MOODS. A file in the folder DISK_MOODS changes what the disk does for as long as it is there:
 *
 *   full     what writes fails with ENOSPC;
 *   broken   what reads, writes or syncs fails with EIO;
 *   free     holds the number of bytes that the disk says are free.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DESCRIPTORS 65536
#define PATH 4096
#define COPY (PATH + 272)

/* The function that this library stands before. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* A write, or a cut of the file to `at` bytes, that has not been synced. */
struct change {
    struct change *next;
    bool cut;
    off_t at;
    size_t length;
    char bytes[];
};

struct file {
    struct file *next;
    char name[256];
    int platter;            /* its copy there */
    bool named;             /* whether its name would survive too */
    bool unlinked;
    bool cut;               /* and the cut has not been synced */
    struct change *first, **last;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files;
static struct file *watched[DESCRIPTORS];
static bool is_folder[DESCRIPTORS];
static char database[PATH], folder[PATH], platter[PATH], moods[PATH];
static int leak;

__attribute__((constructor)) static void begin(void) {
    snprintf(database, PATH, "%s", getenv("DISK_FILE"));
    snprintf(folder, PATH, "%s", database);
    *strrchr(folder, '/') = 0;
    snprintf(platter, PATH, "%s", getenv("DISK_PLATTER"));
    snprintf(moods, PATH, "%s", getenv("DISK_MOODS"));
    leak = atoi(getenv("DISK_LEAK"));
}

/* ---- power ---- */

/* Writes into `path` where the copy of `file` is: while its name would not survive, it goes by another one. */
static char *copy_of(const struct file *file, bool named, char *path) {
    snprintf(path, COPY, "%s/%s%s", platter, file->name, named ? "" : "~");
    return path;
}

static struct file *file_named(const char *name) {
    struct file *file = files;
    while (file && (file->unlinked || strcmp(file->name, name))) file = file->next;
    return file;
}

static struct file *new_file(const char *name) {
    char path[COPY];
    struct file *file = calloc(1, sizeof *file);
    snprintf(file->name, sizeof file->name, "%s", name);
    file->last = &file->first;
    file->named = access(copy_of(file, true, path), F_OK) == 0;
    file->platter = REAL(open)(copy_of(file, file->named, path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file->platter < 0) abort();
    file->next = files;
    return files = file;
}

/* Whether `path` begins with that of the database. */
static bool belongs(const char *path) { return !strncmp(path, database, strlen(database)); }

/* Watches what was opened, if it is ours. */
static int opened(int fd, const char *path) {
    if (fd < 0 || fd >= DESCRIPTORS) return fd;
    pthread_mutex_lock(&lock);
    is_folder[fd] = !strcmp(path, folder);
    const char *suffix = belongs(path) ? path + strlen(database) : "?";
    if ((*suffix == 0 || *suffix == '-') && strcmp(suffix, "-shm")) {
        const char *name = strrchr(path, '/') + 1;
        struct file *known = file_named(name);
        watched[fd] = known ? known : new_file(name);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static void put(struct file *file, const struct change *change) {
    ssize_t done = change->cut ? REAL(ftruncate)(file->platter, change->at)
                               : REAL(pwrite)(file->platter, change->bytes, change->length, change->at);
    if (done < 0 || (!change->cut && (size_t)done != change->length)) abort();
}

/* Remembers what was done to the file behind `fd`, until it is synced. */
static void changed(int fd, bool cut, off_t at, const void *bytes, size_t length) {
    pthread_mutex_lock(&lock);
    struct file *file = watched[fd];
    struct change *change = malloc(sizeof *change + length);
    *change = (struct change){.cut = cut, .at = at, .length = length};
    if (length) memcpy(change->bytes, bytes, length);
    /* A cut waits for its sync, and what is written behind it waits with it. */
    file->cut |= cut;
    if (!file->cut && rand() % 100 < leak) put(file, change);
    *file->last = change;
    file->last = &change->next;
    pthread_mutex_unlock(&lock);
}

/* Puts on the platter what the sync of `fd` makes durable. */
static void synced(int fd) {
    char from[COPY], to[COPY];
    pthread_mutex_lock(&lock);
    struct file *file = watched[fd];
    while (file && file->first) {
        struct change *change = file->first;
        put(file, change);
        file->first = change->next;
        free(change);
    }
    if (file) {
        file->last = &file->first;
        file->cut = false;
    }
    for (file = is_folder[fd] ? files : NULL; file; file = file->next)
        if (file->unlinked && file->named) {
            REAL(unlink)(copy_of(file, true, to));
            file->named = false;
        }
    for (file = is_folder[fd] ? files : NULL; file; file = file->next)
        if (!file->unlinked && !file->named)
            file->named = rename(copy_of(file, false, from), copy_of(file, true, to)) == 0;
    pthread_mutex_unlock(&lock);
}

/* ---- moods ---- */

static bool in_mood(const char *mood) {
    char path[PATH + 16];
    snprintf(path, sizeof path, "%s/%s", moods, mood);
    return access(path, F_OK) == 0;
}

static bool is_watched(int fd) { return fd >= 0 && fd < DESCRIPTORS && watched[fd]; }

/* Whether a read or a sync of `fd` fails now. */
static bool fails(int fd) {
    if (!is_watched(fd) || !in_mood("broken")) return false;
    errno = EIO;
    return true;
}

/* Whether a write to `fd` fails now. */
static bool write_fails(int fd) {
    if (fails(fd)) return true;
    if (!is_watched(fd) || !in_mood("full")) return false;
    errno = ENOSPC;
    return true;
}

/* ---- what the server calls ---- */

#define OPEN(name)                                              \
    int name(const char *path, int flags, ...) {                \
        va_list rest;                                           \
        va_start(rest, flags);                                  \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                           \
        return opened(REAL(name)(path, flags, mode), path);     \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS) {
        watched[fd] = NULL;
        is_folder[fd] = false;
    }
    return REAL(close)(fd);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (write_fails(fd)) return -1;
    off_t at = is_watched(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t written = REAL(write)(fd, bytes, length);
    if (written > 0 && is_watched(fd)) changed(fd, false, at, bytes, written);
    return written;
}

#define PWRITE(name)                                                            \
    ssize_t name(int fd, const void *bytes, size_t length, off_t at) {          \
        if (write_fails(fd)) return -1;                                         \
        ssize_t written = REAL(name)(fd, bytes, length, at);                    \
        if (written > 0 && is_watched(fd)) changed(fd, false, at, bytes, written); \
        return written;                                                         \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define FTRUNCATE(name)                                      \
    int name(int fd, off_t at) {                             \
        if (write_fails(fd)) return -1;                      \
        int done = REAL(name)(fd, at);                       \
        if (done == 0 && is_watched(fd)) changed(fd, true, at, NULL, 0); \
        return done;                                         \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

ssize_t read(int fd, void *bytes, size_t length) { return fails(fd) ? -1 : REAL(read)(fd, bytes, length); }

#define PREAD(name)                                                  \
    ssize_t name(int fd, void *bytes, size_t length, off_t at) {     \
        return fails(fd) ? -1 : REAL(name)(fd, bytes, length, at);   \
    }
PREAD(pread)
PREAD(pread64)

#define SYNC(name)                                                  \
    int name(int fd) {                                              \
        if (fails(fd)) return -1;                                   \
        int done = REAL(name)(fd);                                  \
        if (done == 0 && fd >= 0 && fd < DESCRIPTORS) synced(fd);   \
        return done;                                                \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
    int done = REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    struct file *file = done == 0 && belongs(path) ? file_named(strrchr(path, '/') + 1) : NULL;
    if (file) file->unlinked = true;
    pthread_mutex_unlock(&lock);
    return done;
}

#define STATVFS(name)                                                        \
    int name(const char *path, struct name *room) {                          \
        char told[PATH + 16];                                                \
        int done = REAL(name)(path, room);                                   \
        snprintf(told, sizeof told, "%s/free", moods);                       \
        FILE *file = done == 0 ? fopen(told, "re") : NULL;                   \
        unsigned long long bytes;                                            \
        if (file && fscanf(file, "%llu", &bytes) == 1) room->f_bavail = bytes / room->f_frsize; \
        if (file) fclose(file);                                              \
        return done;                                                         \
    }
STATVFS(statvfs)
STATVFS(statvfs64)
