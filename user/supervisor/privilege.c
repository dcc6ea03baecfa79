/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom the children become. The order matters: groups before the user id, the bounding set while CAP_SETPCAP
 * is still there, no_new_privs last, since it is what lets an unprivileged process install its seccomp
 * filter.
 */
#include "supervisor/supervisor_priv.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

int sl_privilege_resolve(struct sl_supervisor *s, const char *user)
{
    s->drop = geteuid() == 0;
    s->owner = getuid();
    s->uid = getuid();
    s->gid = getgid();
    if (!s->drop) {
        sl_info("not root: controller and workers run as this user, uid %u", s->uid);
        return 0;
    }
    const struct passwd *pw = getpwnam(user ? user : "sluice");
    if (!pw && !user) {
        sl_warn(
            "no user \"sluice\": controller and workers become \"nobody\"; make one by `useradd -r sluice`");
        pw = getpwnam("nobody");
    }
    if (!pw) {
        sl_error("user \"%s\" does not exist: make it, or set `user` in the policy", user ? user : "nobody");
        return -ENOENT;
    }
    if (pw->pw_uid == 0) {
        sl_error("user \"%s\" is root: what faces the network must not be; set `user` to another",
                 pw->pw_name);
        return -EPERM;
    }
    s->uid = pw->pw_uid;
    s->gid = pw->pw_gid;
    return 0;
}

/* A user's daemon may have been given capabilities, by its file or by systemd: they go as well. */
static int _sl_no_capabilities(void)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        return -errno;
    return syscall(SYS_capset, &h, none) < 0 ? -errno : 0;
}

int sl_privilege_drop(const struct sl_supervisor *s)
{
    if (s->drop) {
        for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
            if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
                return -errno;
        if (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
            setresuid(s->uid, s->uid, s->uid) < 0)
            return -errno;
    }
    int r = _sl_no_capabilities();
    if (r < 0)
        return r;
    if (s->drop && setuid(0) == 0) /* must be impossible now */
        return -EPERM;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -errno;
    return 0;
}
