/* Stands between a program and the C library (LD_PRELOAD): records what it does to the disk below one folder and to its
 * connections, kills it before a chosen step, and lets chosen calls fail. For tests only; the program knows nothing of it.
 *
 * Environment:
 *   SHIM_ROOT     only files at or below this folder count (all connections do)
 *   SHIM_TRACE    every step is appended to this file as it was done, see below; none: nothing is recorded
 *   SHIM_KILL     the process ends by SIGKILL before the step of this number (1 is the first)
 *   SHIM_HALF     with SHIM_KILL: if that step is a write, its first half is done
 *   SHIM_RULES    a file of lines "CALL ERRNO SKIP PART": the call fails with that errno where its path (or one of the two) holds PART ("-":
 *                 any), but for the first SKIP times. Read before every call: a test may change it while the program runs. An errno of 0 for
 *                 a write: only half of it is done.
 *
 * A step in the trace is "NUMBER CALL ARGUMENTS\n"; for write, send and recv so many raw octets and a "\n" follow:
 *   create INODE PATH | write INODE OFFSET LENGTH | truncate INODE LENGTH | sync INODE | syncdir PATH | syncfs
 *   mkdir PATH | rmdir PATH | rename FROM TO | link FROM TO | unlink PATH | send PORT LOCAL LENGTH | recv PORT LENGTH        (the peer's port, and our own)
 * One lock is held over a call and its record, so that the order of the trace is the order in which things happened. A path
 * with a blank in it would spoil the trace: tests make none.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *rules;
static int trace = -1;
static long kill_at, half_too, step_number;

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (!next) next = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void start(void) {
    root = getenv("SHIM_ROOT");
    rules = getenv("SHIM_RULES");
    const char *file = getenv("SHIM_TRACE"), *at = getenv("SHIM_KILL");
    if (file) trace = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    kill_at = at ? atol(at) : 0;
    half_too = getenv("SHIM_HALF") != NULL;
    /* Whatever the program starts is not under test. */
    unsetenv("LD_PRELOAD");
}

static int below(const char *path) {
    size_t length = root ? strlen(root) : 0;
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

/* The path of an open file; 0 where it is none of ours. */
static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

static unsigned long inode_of(int fd) {
    struct stat info;
    return fstat(fd, &info) ? 0 : info.st_ino;
}

/* Whether this call is to fail: errno is set then. Half is set where only a half is to be done. */
static int fails(const char *call, const char *path, int *half) {
    static struct { char text[512]; long count; } seen[32];
    char text[4096];
    if (!rules) return 0;
    int fd = syscall(SYS_openat, AT_FDCWD, rules, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (length <= 0) return 0;
    text[length] = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        char name[32], part[256];
        int code;
        long skip;
        if (sscanf(line, "%31s %d %ld %255s", name, &code, &skip, part) != 4 || strcmp(name, call)) continue;
        if (strcmp(part, "-") && !strstr(path, part)) continue;
        long count = 0;
        for (int i = 0; i < 32; i++) {
            if (!seen[i].text[0]) snprintf(seen[i].text, sizeof seen[i].text, "%s", line);
            if (!strcmp(seen[i].text, line)) {
                count = ++seen[i].count;
                break;
            }
        }
        if (count <= skip) continue;
        if (code) errno = code;
        else *half = 1;
        return code != 0;
    }
    return 0;
}

/* Before a step: dies here, if it is the one. */
static void step(void) {
    step_number++;
    if (kill_at && step_number == kill_at) {
        syscall(SYS_kill, (int)syscall(SYS_getpid), SIGKILL);
        for (;;) pause();
    }
}

static void record(const void *data, size_t length, const char *format, ...) {
    if (trace < 0) return;
    int before = errno;
    char line[3 * PATH_MAX];
    int at = snprintf(line, sizeof line, "%ld ", step_number);
    va_list arguments;
    va_start(arguments, format);
    at += vsnprintf(line + at, sizeof line - at, format, arguments);
    va_end(arguments);
    line[at++] = '\n';
    syscall(SYS_write, trace, line, at);
    if (data) {
        syscall(SYS_write, trace, data, length);
        syscall(SYS_write, trace, "\n", 1);
    }
    errno = before;
}

/* ---- files ---- */

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd >= 0 && (flags & O_CREAT) && !existed) record(NULL, 0, "create %lu %s", inode_of(fd), path);
    return fd;
}

static int open_any(const char *path, int flags, mode_t mode) {
    if (!below(path)) return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_lock(&lock);
    int half = 0, fd = -1;
    if (flags & O_CREAT) step();
    if (!fails(flags & O_CREAT ? "create" : "open", path, &half)) {
        int existed = !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW);
        fd = opened(syscall(SYS_openat, AT_FDCWD, path, flags, mode), path, flags, existed);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments); \
        return open_any(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

static ssize_t write_any(int fd, const void *data, size_t length, off_t offset, int positioned) {
    char path[PATH_MAX];
    if (!path_of(fd, path))
        return positioned ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
    pthread_mutex_lock(&lock);
    int half = 0;
    ssize_t done = -1;
    off_t at = positioned ? offset : lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    if (kill_at && step_number + 1 == kill_at && half_too) {
        if (positioned) syscall(SYS_pwrite64, fd, data, length / 2, offset);
        else syscall(SYS_write, fd, data, length / 2);
    }
    step();
    if (!fails("write", path, &half)) {
        if (half && length > 1) length /= 2;
        done = positioned ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
        if (done > 0) record(data, done, "write %lu %ld %ld", inode_of(fd), (long)at, (long)done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *data, size_t length) { return write_any(fd, data, length, 0, 0); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) { return write_any(fd, data, length, at, 1); }

ssize_t pread64(int fd, void *data, size_t length, off_t at) {
    char path[PATH_MAX];
    int half = 0;
    if (path_of(fd, path)) {
        pthread_mutex_lock(&lock);
        int failed = fails("read", path, &half);
        pthread_mutex_unlock(&lock);
        if (failed) return -1;
    }
    return syscall(SYS_pread64, fd, data, length, at);
}

static int sync_any(int fd, int call) {
    char path[PATH_MAX];
    struct stat info;
    if (!path_of(fd, path) || fstat(fd, &info)) return syscall(call, fd);
    int is_dir = S_ISDIR(info.st_mode), half = 0, done = -1;
    pthread_mutex_lock(&lock);
    step();
    if (!fails(is_dir ? "syncdir" : "sync", path, &half)) done = syscall(call, fd);
    if (!done && is_dir) record(NULL, 0, "syncdir %s", path);
    if (!done && !is_dir) record(NULL, 0, "sync %lu", (unsigned long)info.st_ino);
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd) { return sync_any(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_any(fd, SYS_fdatasync); }

int syncfs(int fd) {
    char path[PATH_MAX];
    int half = 0, done = -1;
    if (!path_of(fd, path)) return syscall(SYS_syncfs, fd);
    pthread_mutex_lock(&lock);
    step();
    if (!fails("syncfs", path, &half)) done = syscall(SYS_syncfs, fd);
    if (!done) record(NULL, 0, "syncfs");
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate64(int fd, off_t length) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    step();
    int done = syscall(SYS_ftruncate, fd, length);
    if (!done) record(NULL, 0, "truncate %lu %ld", inode_of(fd), (long)length);
    pthread_mutex_unlock(&lock);
    return done;
}

/* ---- names ---- */

/* One path, or two. */
#define NAME(call, path, to, action) \
    char both[2 * PATH_MAX]; \
    snprintf(both, sizeof both, "%s %s", path, to); \
    pthread_mutex_lock(&lock); \
    int half = 0, done = -1; \
    step(); \
    if (!fails(call, both, &half)) done = (action); \
    if (!done && *(to)) record(NULL, 0, call " %s %s", path, to); \
    if (!done && !*(to)) record(NULL, 0, call " %s", path); \
    pthread_mutex_unlock(&lock); \
    return done

int mkdir(const char *path, mode_t mode) {
    if (!below(path)) return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    NAME("mkdir", path, "", syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

int rmdir(const char *path) {
    if (!below(path)) return syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    NAME("rmdir", path, "", syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR));
}

int unlink(const char *path) {
    if (!below(path)) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    NAME("unlink", path, "", syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

int rename(const char *from, const char *to) {
    if (!below(from)) return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    NAME("rename", from, to, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int linkat(int fd, const char *from, int fd_to, const char *to, int flags) {
    if (!below(from)) return syscall(SYS_linkat, fd, from, fd_to, to, flags);
    NAME("link", from, to, syscall(SYS_linkat, fd, from, fd_to, to, flags));
}

/* ---- connections ---- */

/* The port of one end; 0 where it is no connection over IP. */
static int port_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *)) {
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (name(fd, (struct sockaddr *)&peer, &length)) return 0;
    if (peer.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&peer)->sin_port);
    if (peer.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&peer)->sin6_port);
    return 0;
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    NEXT(send);
    int port = port_of(fd, getpeername);
    if (!port) return next(fd, data, length, flags);
    pthread_mutex_lock(&lock);
    step();
    ssize_t done = next(fd, data, length, flags);
    if (done > 0) record(data, done, "send %d %d %ld", port, port_of(fd, getsockname), (long)done);
    pthread_mutex_unlock(&lock);
    return done;
}

/* A step only where something came: how often a program looks in vain is chance. */
ssize_t recv(int fd, void *data, size_t length, int flags) {
    NEXT(recv);
    ssize_t done = next(fd, data, length, flags);
    int port = done > 0 ? port_of(fd, getpeername) : 0;
    if (!port) return done;
    pthread_mutex_lock(&lock);
    step();
    record(data, done, "recv %d %ld", port, (long)done);
    pthread_mutex_unlock(&lock);
    return done;
}
