/* Names that do not resolve: `missing.invalid` is not known, `slow.invalid` is this machine after two seconds, and for `never.invalid` the
   answer does not come. All others as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strcmp(node, "missing.invalid") == 0)
        return EAI_NONAME;
    while (node && strcmp(node, "never.invalid") == 0)
        sleep(60);
    if (node && strcmp(node, "slow.invalid") == 0) {
        sleep(2);
        node = "127.0.0.1";
    }
    return real(node, service, hints, found);
}
