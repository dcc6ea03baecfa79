/* SPDX-License-Identifier: Apache-2.0 */
/* Where the guard's state outlives the daemon: directories, names, locks and removal of pins. */
#include "base/log.h"
#include "kernel/guard_priv.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#define SL_BPFFS "/sys/fs/bpf"
#define SL_LOCK_TRIES \
    50 /* of 100 ms: the children of a killed supervisor hold the lock until they have gone */
#define SL_SCHEMA_PREFIX "v"

const char *sl_pin_root(void)
{
    const char *root = secure_getenv("SLUICE_BPF_ROOT");
    return root && root[0] == '/' ? root : SL_PIN_ROOT;
}

void sl_pin_path(char out[SL_PIN_PATH], const char *dir, const char *sub, const char *prefix,
                 const char *name)
{
    /* Names are ours or interfaces' (15 bytes), dir is shorter by far: a cut path fails at its first use. */
    const int n = snprintf(out, SL_PIN_PATH, "%s/%s/", dir, sub);
    if (n < 0 || n >= SL_PIN_PATH || snprintf(out + n, (size_t)(SL_PIN_PATH - n), "%s%s", prefix, name) < 0)
        out[0] = '\0';
    for (char *p = n > 0 && n < SL_PIN_PATH ? out + n : out; *p; p++)
        if (*p == '.') /* bpffs keeps dots for itself; interfaces cannot have a colon */
            *p = ':';
}

static bool _sl_is_bpffs(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* The directory that holds ROOT must be a bpffs: pins are no files. */
static int _sl_need_bpffs(const char *root)
{
    char parent[SL_PIN_PATH];
    const char *slash = strrchr(root, '/');
    if (snprintf(parent, sizeof(parent), "%.*s", (int)(slash - root), root) >= (int)sizeof(parent))
        return sl_error_r(-ENAMETOOLONG, "kernel: %s", root);
    if (_sl_is_bpffs(parent))
        return 0;
    if (strcmp(parent, SL_BPFFS) != 0)
        return sl_error_r(-ENODEV, "kernel: %s is no bpffs: mount -t bpf bpf %s", parent, parent);
    if (mount("bpf", SL_BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
        return sl_error_r(-errno, "kernel: no bpffs at %s, and none could be mounted there", SL_BPFFS);
    sl_info("kernel: mounted a bpffs at %s; mount it from fstab to share it with other mount namespaces",
            SL_BPFFS);
    return 0;
}

static int _sl_make_dir(const char *path)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return sl_error_r(-errno, "kernel: cannot make %s", path);
    return 0;
}

static int _sl_make_tree(const char *root, const char *dir)
{
    char sub[SL_PIN_PATH];
    int r = _sl_make_dir(root);
    if (r == 0)
        r = _sl_make_dir(dir);
    sl_pin_path(sub, dir, "maps", "", "");
    if (r == 0)
        r = _sl_make_dir(sub);
    sl_pin_path(sub, dir, "links", "", "");
    return r < 0 ? r : _sl_make_dir(sub);
}

static bool _sl_is_of(int fd, const char *dir)
{
    struct stat held, there;
    return fd >= 0 && fstat(fd, &held) == 0 && stat(dir, &there) == 0 && held.st_ino == there.st_ino;
}

int sl_pins_lock(const char *dir, int handed)
{
    const struct timespec pause = {.tv_nsec = 100000000};
    SL_CLOSE int fd = _sl_is_of(handed, dir) ? fcntl(handed, F_DUPFD_CLOEXEC, 0)
                                             : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sl_error_r(-errno, "kernel: cannot open %s", dir);
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK)
            return sl_error_r(-errno, "kernel: cannot lock %s", dir);
        if (i == SL_LOCK_TRIES)
            return sl_error_r(-EBUSY, "kernel: another sluiced holds %s: stop it first", dir);
        (void)nanosleep(&pause, NULL);
    }
    return SL_TAKE_FD(fd);
}

int sl_pins_reopen(const char *dir, int *lock)
{
    if (_sl_is_of(*lock, dir))
        return 0;
    const int r = _sl_make_tree(sl_pin_root(), dir);
    if (r < 0)
        return r;
    sl_closep(lock);
    *lock = sl_pins_lock(dir, -1);
    return *lock < 0 ? *lock : 0;
}

int sl_pins_open(char dir[SL_PIN_PATH], int handed, int *lock)
{
    const char *root = sl_pin_root();
    if (snprintf(dir, SL_PIN_PATH, "%s/" SL_SCHEMA_PREFIX SL_ABI_SCHEMA_STR, root) >= SL_PIN_PATH - 64)
        return sl_error_r(-ENAMETOOLONG, "kernel: %s", root);
    int r = _sl_need_bpffs(root);
    if (r == 0)
        r = _sl_make_tree(root, dir);
    if (r < 0)
        return r;
    *lock = sl_pins_lock(dir, handed);
    return *lock < 0 ? *lock : 0;
}

/* Detaches even where another process still holds the link open (BPF_LINK_DETACH). */
static int _sl_drop_link(const char *path)
{
    SL_CLOSE int fd = bpf_obj_get(path);
    const int detached = fd >= 0 && bpf_link_detach(fd) == 0;
    if (unlink(path) < 0 && errno != ENOENT)
        sl_warn("kernel: cannot remove %s: %s", path, strerror(errno));
    return detached;
}

static int _sl_drop_dir(const char *dir, const char *sub, bool links)
{
    char path[SL_PIN_PATH], name[SL_PIN_PATH];
    int n = 0;
    sl_pin_path(path, dir, sub, "", "");
    DIR *d = opendir(path);
    if (!d)
        return 0;
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (e->d_name[0] == '.')
            continue;
        sl_pin_path(name, dir, sub, "", e->d_name);
        if (links)
            n += _sl_drop_link(name);
        else
            (void)unlink(name);
    }
    (void)closedir(d);
    (void)rmdir(path);
    return n;
}

int sl_pins_remove(const char *dir)
{
    const int n = _sl_drop_dir(dir, "links", true);
    (void)_sl_drop_dir(dir, "maps", false);
    if (rmdir(dir) < 0 && errno != ENOENT)
        sl_warn("kernel: cannot remove %s: %s", dir, strerror(errno));
    (void)rmdir(sl_pin_root()); /* where it was the last schema's */
    return n;
}

bool sl_pins_schema_of(const char *name, unsigned *schema)
{
    const size_t prefix = sizeof(SL_SCHEMA_PREFIX) - 1;
    uint64_t n;
    if (strncmp(name, SL_SCHEMA_PREFIX, prefix) != 0 || sl_slice_u64(sl_slice_str(name + prefix), &n) < 0 ||
        n > UINT32_MAX)
        return false;
    *schema = (unsigned)n;
    return true;
}

/* Calls fn with each schema's directory under ROOT: the sum of what it returns, or -errno. */
static int _sl_each_schema(int (*fn)(const char *dir))
{
    const char *root = sl_pin_root();
    unsigned schema;
    int n = 0;
    DIR *d = opendir(root);
    if (!d)
        return errno == ENOENT ? 0 : -errno;
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        char dir[SL_PIN_PATH];
        if (sl_pins_schema_of(e->d_name, &schema) &&
            snprintf(dir, sizeof(dir), "%s/%s", root, e->d_name) < SL_PIN_PATH)
            n += fn(dir);
    }
    (void)closedir(d);
    return n;
}

/* "xdp_eth0:100" to "eth0.100"; NULL where it is no name of ours. */
static const char *_sl_interface_of(const char *pin, char out[16])
{
    static const char *const prefixes[] = {"xdp_", "tcx_in_", "tcx_out_"};
    for (size_t i = 0; i < SL_ARRAY_LEN(prefixes); i++) {
        const size_t n = strlen(prefixes[i]);
        if (strncmp(pin, prefixes[i], n) != 0 || strlen(pin + n) >= 16)
            continue;
        memcpy(out, pin + n, strlen(pin + n) + 1);
        for (char *p = out; *p; p++)
            if (*p == ':')
                *p = '.';
        return out;
    }
    return NULL;
}

static bool _sl_link_is(const char *path, unsigned ifindex, uint32_t prog_id)
{
    struct bpf_link_info info = {0};
    __u32 len = sizeof(info);
    SL_CLOSE int fd = bpf_obj_get(path);
    return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.xdp.ifindex == ifindex &&
           info.prog_id == prog_id; /* an ifindex alone may be another namespace's */
}

/* The name under which that link is pinned, in out; "" where it is none of ours. */
static void _sl_pinned_as(const char *dir, unsigned ifindex, uint32_t prog_id, char out[16])
{
    char path[SL_PIN_PATH];
    sl_pin_path(path, dir, "links", "", "");
    DIR *d = opendir(path);
    out[0] = '\0';
    for (const struct dirent *e = d ? readdir(d) : NULL; e && !out[0]; e = readdir(d)) {
        sl_pin_path(path, dir, "links", "", e->d_name);
        if (strncmp(e->d_name, "xdp_", 4) == 0 && _sl_link_is(path, ifindex, prog_id))
            (void)_sl_interface_of(e->d_name, out);
    }
    if (d)
        (void)closedir(d);
}

void sl_pins_rename(const char *dir, unsigned ifindex, uint32_t prog_id, const char *interface)
{
    static const char *const prefixes[] = {"xdp_", "tcx_in_", "tcx_out_"};
    char was[16], from[SL_PIN_PATH], to[SL_PIN_PATH];
    _sl_pinned_as(dir, ifindex, prog_id, was);
    if (!was[0] || strcmp(was, interface) == 0)
        return;
    sl_info("kernel: interface %s was called %s: its guard is taken over", interface, was);
    for (size_t i = 0; i < SL_ARRAY_LEN(prefixes); i++) {
        sl_pin_path(from, dir, "links", prefixes[i], was);
        sl_pin_path(to, dir, "links", prefixes[i], interface);
        (void)unlink(to); /* of a former interface of that name, which is gone */
        if (rename(from, to) < 0 && errno != ENOENT)
            sl_warn("kernel: cannot rename %s: %s", from, strerror(errno));
    }
}

size_t sl_pins_prune_links(const char *dir, bool (*keep)(const char *interface, void *arg), void *arg)
{
    char path[SL_PIN_PATH], interface[16];
    size_t left = 0;
    sl_pin_path(path, dir, "links", "", "");
    DIR *d = opendir(path);
    if (!d)
        return 0;
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (e->d_name[0] == '.')
            continue;
        const char *name = _sl_interface_of(e->d_name, interface);
        if (name && keep(name, arg)) {
            left++;
            continue;
        }
        sl_pin_path(path, dir, "links", "", e->d_name);
        if (_sl_drop_link(path) && strncmp(e->d_name, "xdp_", 4) == 0)
            sl_info("kernel: interface %s, guarded by a former daemon, is taken off",
                    name ? name : e->d_name);
        const unsigned ifindex = name ? if_nametoindex(name) : 0;
        if (ifindex)
            (void)sl_clsact_detach(ifindex);
    }
    (void)closedir(d);
    return left;
}

void sl_pins_remove_others(const char *dir)
{
    const char *root = sl_pin_root();
    char other[SL_PIN_PATH];
    unsigned schema;
    DIR *d = opendir(root);
    for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        if (sl_pins_schema_of(e->d_name, &schema) &&
            snprintf(other, sizeof(other), "%s/%s", root, e->d_name) < SL_PIN_PATH && strcmp(other, dir) != 0)
            (void)sl_pins_remove(other);
    if (d)
        (void)closedir(d);
}

/* 1: no living daemon holds it. */
static int _sl_is_orphan(const char *dir)
{
    SL_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return 0;
    sl_warn("kernel: mode off, and the guard of a former daemon is still pinned at %s: taken off", dir);
    return 1;
}

static int _sl_is_held(const char *dir)
{
    SL_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

void sl_pins_remove_orphans(void)
{
    if (_sl_each_schema(_sl_is_held) == 0 && _sl_each_schema(_sl_is_orphan) > 0)
        (void)sl_kernel_detach_all();
}

int sl_kernel_detach_all(void)
{
    sl_libbpf_quiet();
    if (geteuid() != 0)
        return -EPERM;
    const int n = _sl_each_schema(sl_pins_remove);
    if (n < 0)
        return n;
    return n + sl_clsact_detach(0);
}
