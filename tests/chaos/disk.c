/* A disk that fails on request, and that forgets what was not synced when the power fails.
 *
 * Preloaded into the real program (LD_PRELOAD), it sits between the program with its LMDB and the system, for the two
 * files of a store that hold what must not be lost, `data.mdb` and `data.journal`; it leaves all other files and all
 * sockets alone. Its own files are beside the store's directory DIR; FILE is `data` or `journal`:
 *
 *   DIR.fault          the fault, one line: CALL WHERE ERRNO SKIP DELAY. From the (SKIP + 1)th CALL on, each takes
 *                      DELAY milliseconds and then fails with ERRNO, or does its work where that is 0. A negative
 *                      DELAY lasts until the file changes. CALL is `open` (for writing), `write`, `short` (a write:
 *                      half of it is written), `read` (at an offset: the data file is read so, the journal is not),
 *                      `sync` (a write to a descriptor that syncs by itself counts as both) or `unheard` (a sync that
 *                      fails; the process is stopped before it learns of that). WHERE is `data`, `journal`, or `any`:
 *                      these two, the directory, and the opening of other files there.
 *   DIR.FILE.unsynced  what was written to the file and not yet synced, with what was there before. The file itself is
 *                      written at once, because LMDB reads its own through a map; disk.rs goes back from there when the
 *                      power is cut.
 *   DIR.FILE.failed    exists from the first failed sync of the file on: see sync_failed.
 *   DIR.stalled        exists once a call hangs for good.
 *   DIR.struck         exists once a call was made to fail.
 *   DIR.renamed        exists while a data file has its new name and the directory was not synced.
 *
 * A call on these files that this does not model ends the program: what is not watched must not happen. Nothing is
 * really synced, because no power is really cut; that saves time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 4096
/* The interval at which the fault is read again during a stall. */
#define STALL_POLL_US 5000

struct file {
    char *directory; /* NULL: not a file that is watched */
    const char *name;
    int syncs_itself;
};

/* A record of what was not synced; after a `W` come `old_bytes` of what there was, and `new_bytes` of what was
 * written. */
struct record {
    uint64_t kind; /* W: a write; D: the last write is durable; S: a sync; X: a failed sync */
    uint64_t offset;
    uint64_t old_bytes;
    uint64_t new_bytes;
    uint64_t file_bytes; /* the file's length before the write */
};

static struct file files[FDS_MAX];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *what)
{
    dprintf(2, "disk.c: %s is not modelled, or failed\n", what);
    abort();
}

static int raw_open(const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

static void beside(char *path, const char *directory, const char *suffix)
{
    if (snprintf(path, PATH_MAX, "%s.%s", directory, suffix) >= PATH_MAX) {
        die("so long a path");
    }
}

static void touch(const char *path)
{
    int fd = raw_open(path, O_WRONLY | O_CREAT, 0644);
    if (fd < 0) {
        die("a mark");
    }
    syscall(SYS_close, fd);
}

/* Waits until it is time, and returns the error number that the call is to fail with, or 0. */
static int fault(const char *directory, const char *where, const char *call)
{
    static char last[64];
    static int calls;
    int counted = 0;
    for (;;) {
        char path[PATH_MAX], text[64] = "", wanted[16] = "", meant[16] = "";
        int error = 0, skip = 0, delay_ms = 0;
        beside(path, directory, "fault");
        int fd = raw_open(path, O_RDONLY, 0);
        if (fd < 0) {
            return 0;
        }
        ssize_t got = syscall(SYS_read, fd, text, sizeof text - 1);
        syscall(SYS_close, fd);
        if (got <= 0 || sscanf(text, "%15s %15s %d %d %d", wanted, meant, &error, &skip, &delay_ms) != 5) {
            die("such a fault");
        }
        if (strcmp(wanted, call) != 0 || (strcmp(meant, "any") != 0 && strcmp(meant, where) != 0)) {
            return 0;
        }
        if (strcmp(text, last) != 0) {
            strcpy(last, text);
            calls = 0;
            counted = 0;
        }
        if (!counted) {
            counted = 1;
            calls += calls <= skip;
            if (calls <= skip) {
                return 0;
            }
        }
        if (delay_ms >= 0) {
            usleep((useconds_t)delay_ms * 1000);
            if (error != 0) {
                beside(path, directory, "struck");
                touch(path);
            }
            return error;
        }
        beside(path, directory, "stalled");
        touch(path);
        usleep(STALL_POLL_US);
    }
}

static void beside_of(char *path, const struct file *file, const char *suffix)
{
    char both[64];
    snprintf(both, sizeof both, "%s.%s", file->name, suffix);
    beside(path, file->directory, both);
}

static void append(const struct file *file, const struct record *record, const void *old, const struct iovec *new,
                   int count)
{
    char path[PATH_MAX];
    beside_of(path, file, "unsynced");
    int fd = raw_open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    size_t size = sizeof *record + record->old_bytes + record->new_bytes;
    char *bytes = malloc(size);
    if (fd < 0 || bytes == NULL) {
        die("the record of a write");
    }
    char *end = mempcpy(bytes, record, sizeof *record);
    end = mempcpy(end, old, record->old_bytes);
    for (int i = 0; i < count; i++) {
        end = mempcpy(end, new[i].iov_base, new[i].iov_len);
    }
    /* One write: if the process is killed in the middle of it, the write that it announces has not begun. */
    if (syscall(SYS_write, fd, bytes, size) != (ssize_t)size) {
        die("the record of a write");
    }
    free(bytes);
    syscall(SYS_close, fd);
}

static void note(const struct file *file, char kind)
{
    struct record record = { .kind = (uint64_t)kind };
    append(file, &record, NULL, NULL, 0);
}

/* After a failed sync, Linux considers the file's pages clean: their content can be read, but a later sync that
 * succeeds does not bring it to the disk. So from now on the records are kept, and tell when each sync happened. */
static int sync_failed(const struct file *file, int error)
{
    char path[PATH_MAX];
    beside_of(path, file, "failed");
    touch(path);
    note(file, 'X');
    errno = error;
    return -1;
}

static void stand_still(const char *directory)
{
    char path[PATH_MAX];
    beside(path, directory, "stalled");
    touch(path);
    for (;;) {
        pause();
    }
}

/* Returns 0 if the sync may do its work, and otherwise what the sync is to return. */
static int try_sync(const struct file *file)
{
    int error = fault(file->directory, file->name, "sync");
    if (error != 0) {
        return sync_failed(file, error);
    }
    error = fault(file->directory, file->name, "unheard");
    if (error != 0) {
        sync_failed(file, error);
        stand_still(file->directory);
    }
    return 0;
}

static int sync_file(const struct file *file)
{
    if (try_sync(file) != 0) {
        return -1;
    }
    char path[PATH_MAX];
    beside_of(path, file, "failed");
    if (syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0) {
        note(file, 'S');
        return 0;
    }
    beside_of(path, file, "unsynced");
    if (truncate(path, 0) != 0 && errno != ENOENT) {
        die("forgetting what is synced");
    }
    return 0;
}

static ssize_t write_file(int fd, const struct iovec *new, int count, off_t offset)
{
    const struct file file = files[fd];
    size_t new_bytes = 0;
    for (int i = 0; i < count; i++) {
        new_bytes += new[i].iov_len;
    }
    int error = fault(file.directory, file.name, "write");
    if (error != 0) {
        errno = error;
        return -1;
    }
    struct iovec half = { new[0].iov_base, new[0].iov_len / 2 };
    if (fault(file.directory, file.name, "short") != 0) {
        new = &half;
        count = 1;
        new_bytes = half.iov_len;
    }
    struct stat stat;
    char *old = malloc(new_bytes);
    /* The descriptor may be for writing only. */
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int readable = raw_open(self, O_RDONLY, 0);
    if (fstat(fd, &stat) != 0 || old == NULL || readable < 0) {
        die("reading what is written over");
    }
    ssize_t old_bytes = syscall(SYS_pread64, readable, old, new_bytes, offset);
    syscall(SYS_close, readable);
    if (old_bytes < 0) {
        die("reading what is written over");
    }
    struct record record = { 'W', (uint64_t)offset, (uint64_t)old_bytes, new_bytes, (uint64_t)stat.st_size };
    append(&file, &record, old, new, count);
    free(old);
    ssize_t written = syscall(SYS_pwritev, fd, new, count, offset, 0);
    if (file.syncs_itself && written >= 0) {
        if (try_sync(&file) != 0) {
            return -1;
        }
        note(&file, 'D');
    }
    return written;
}

static int is_watched(int fd)
{
    return fd >= 0 && fd < FDS_MAX && files[fd].directory != NULL;
}

static ssize_t write_any(int fd, const struct iovec *new, int count, off_t offset)
{
    pthread_mutex_lock(&mutex);
    ssize_t written = write_file(fd, new, count, offset);
    pthread_mutex_unlock(&mutex);
    return written;
}

/* A write at the descriptor's position. */
static ssize_t write_here(int fd, const struct iovec *new, int count)
{
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t written = write_any(fd, new, count, offset);
    if (written > 0) {
        lseek(fd, offset + written, SEEK_SET);
    }
    return written;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    struct iovec one = { (void *)bytes, count };
    return is_watched(fd) ? write_here(fd, &one, 1) : syscall(SYS_write, fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *new, int count)
{
    return is_watched(fd) ? write_here(fd, new, count) : syscall(SYS_writev, fd, new, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    struct iovec one = { (void *)bytes, count };
    return is_watched(fd) ? write_any(fd, &one, 1, offset) : syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset)
{
    return pwrite(fd, bytes, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *new, int count, off_t offset)
{
    return is_watched(fd) ? write_any(fd, new, count, offset) : syscall(SYS_pwritev, fd, new, count, offset, 0);
}

ssize_t pwritev64(int fd, const struct iovec *new, int count, off_t offset)
{
    return pwritev(fd, new, count, offset);
}

ssize_t pread(int fd, void *bytes, size_t count, off_t offset)
{
    int error = 0;
    pthread_mutex_lock(&mutex);
    if (is_watched(fd)) {
        error = fault(files[fd].directory, files[fd].name, "read");
    }
    pthread_mutex_unlock(&mutex);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return syscall(SYS_pread64, fd, bytes, count, offset);
}

ssize_t pread64(int fd, void *bytes, size_t count, off_t offset)
{
    return pread(fd, bytes, count, offset);
}

/* The names in a directory. */
static int sync_directory(int fd)
{
    char self[64], directory[PATH_MAX], path[PATH_MAX];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(self, directory, sizeof directory - 1);
    if (length < 0) {
        die("finding a directory");
    }
    directory[length] = 0;
    int error = fault(directory, "names", "sync");
    if (error != 0) {
        errno = error;
        return -1;
    }
    beside(path, directory, "renamed");
    unlink(path);
    return 0;
}

static int sync_any(int fd, long call)
{
    struct stat stat;
    int result;
    pthread_mutex_lock(&mutex);
    if (is_watched(fd)) {
        result = sync_file(&files[fd]);
    } else if (fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode)) {
        result = sync_directory(fd);
    } else {
        result = (int)syscall(call, fd);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int fsync(int fd)
{
    return sync_any(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_any(fd, SYS_fdatasync);
}

int ftruncate(int fd, off_t length)
{
    if (is_watched(fd)) {
        die("ftruncate");
    }
    return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate64(int fd, off_t length)
{
    return ftruncate(fd, length);
}

int msync(void *address, size_t length, int flags)
{
    (void)address, (void)length, (void)flags;
    die("msync");
    return -1;
}

int rename(const char *old, const char *new)
{
    const char *name = strrchr(new, '/');
    if (name != NULL && strcmp(name, "/data.mdb") == 0) {
        char path[PATH_MAX], *directory = strndup(new, (size_t)(name - new));
        beside(path, directory, "renamed");
        free(directory);
        touch(path);
    }
    return (int)syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 0);
}

/* The name used here for a file whose path ends like this; NULL if it is not watched. */
static const char *watched_as(const char *name)
{
    if (strcmp(name, "/data.mdb") == 0 || strcmp(name, "/data.mdb.new") == 0) {
        return "data";
    }
    return strcmp(name, "/data.journal") == 0 ? "journal" : NULL;
}

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    const char *end = strrchr(path, '/');
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT) != 0;
    const char *name = end == NULL ? NULL : watched_as(end);
    if (end == NULL || (!writes && name == NULL)) {
        return (int)syscall(SYS_openat, at, path, flags, mode);
    }
    struct file file = { strndup(path, (size_t)(end - path)), name, (flags & O_DSYNC) != 0 };
    if (file.directory == NULL) {
        die("so little memory");
    }
    int error = writes ? fault(file.directory, name == NULL ? "other" : name, "open") : 0;
    int fd = -1;
    if (error != 0) {
        errno = error;
    } else {
        fd = (int)syscall(SYS_openat, at, path, flags, mode);
    }
    if (fd < 0 || name == NULL) {
        free(file.directory);
        return fd;
    }
    struct stat stat;
    if (fd >= FDS_MAX || at != AT_FDCWD || fstat(fd, &stat) != 0) {
        die("such a descriptor");
    }
    if (writes && stat.st_size == 0) {
        /* It is new, or was truncated to nothing: the records of an earlier file do not apply to it. */
        char stale[PATH_MAX];
        beside_of(stale, &file, "unsynced");
        unlink(stale);
        beside_of(stale, &file, "failed");
        unlink(stale);
    }
    files[fd] = file;
    return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? (mode_t)va_arg(arguments, int) : 0;
}

#define OPEN(name)                                               \
    int name(const char *path, int flags, ...)                   \
    {                                                            \
        va_list arguments;                                       \
        va_start(arguments, flags);                              \
        mode_t mode = mode_of(flags, arguments);                 \
        va_end(arguments);                                       \
        return open_any(AT_FDCWD, path, flags, mode);            \
    }

#define OPENAT(name)                                             \
    int name(int at, const char *path, int flags, ...)           \
    {                                                            \
        va_list arguments;                                       \
        va_start(arguments, flags);                              \
        mode_t mode = mode_of(flags, arguments);                 \
        va_end(arguments);                                       \
        return open_any(at, path, flags, mode);                  \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd)
{
    if (is_watched(fd)) {
        free(files[fd].directory);
        files[fd].directory = NULL;
    }
    return (int)syscall(SYS_close, fd);
}
