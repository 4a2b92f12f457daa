/* A disk that is full as long as the file exists whose name is in FULL_WHILE: nothing can be written to a draft. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_draft(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return 0;
    path[len] = 0;
    /* What is short and sent has its message's name already while it is written. */
    return strstr(path, "/tmp/") && (strstr(path, ",mailstore") || strstr(path, ",H="));
}

ssize_t write(int fd, const void *from, size_t count)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    const char *full = getenv("FULL_WHILE");
    if (full && access(full, F_OK) == 0 && is_draft(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, from, count);
}
