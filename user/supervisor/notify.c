/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3)'s datagram, without the library: twenty lines against a dependency. */
#include "supervisor/supervisor_priv.h"

#include <errno.h>

void sl_notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, n);
    if (path[0] == '@') /* an abstract name */
        to.sun_path[0] = '\0';
    SL_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

double sl_notify_watchdog(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    uint64_t v;
    if (!usec || sl_slice_u64(sl_slice_str(usec), &v) < 0)
        return 0;
    return (double)v / 2e6;
}
