/* SPDX-License-Identifier: Apache-2.0 */
/* The filter from inside: what an attacker would try fails with EPERM, what a child needs works. */
#include "supervisor_test.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static int enter(bool worker)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sl_seccomp_install(worker) < 0 ? -1 : 0;
}

/* ---- what is refused: each as one call */

static long try_open(void)
{
    return open("/etc/passwd", O_RDONLY);
}
static long try_create(void)
{
    return open("/tmp/sl-seccomp", O_CREAT | O_WRONLY, 0600);
}
static long try_exec(void)
{
    return execl("/bin/true", "true", NULL);
}
static long try_fork(void)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}
static long try_vfork(void)
{
    return syscall(SYS_vfork);
}
static long try_listen(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 ? 1 : listen(fd, 1);
}
static long try_bind(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 ? 1 : bind(fd, (struct sockaddr *)&a, sizeof(a));
}
static long try_packet_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0);
}
static long try_netlink_socket(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}
static long try_ptrace(void)
{
    return ptrace(PTRACE_ATTACH, getppid(), 0, 0);
}
static long try_kill_sibling(void)
{
    return kill(getppid(), 0);
}
static long try_tgkill_parent(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0);
}
static long try_slow_sibling(void)
{
    return setpriority(PRIO_PROCESS, (id_t)getppid(), 19);
}
static long try_mount(void)
{
    return mount("none", "/mnt", "tmpfs", 0, NULL);
}
static long try_unshare(void)
{
    return unshare(CLONE_NEWUSER);
}
static long try_setuid(void)
{
    return setuid(0);
}
static long try_unlink(void)
{
    return unlink("/tmp/sl-seccomp");
}
static long try_prog_load(void)
{
    union bpf_attr attr = {0};
    return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}
static long try_map_create(void)
{
    union bpf_attr attr = {0};
    return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}
static long try_obj_get(void)
{
    union bpf_attr attr = {0};
    return syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
}
static long try_undump(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}
static long try_process_vm(void)
{
    return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}
static long try_io_uring(void)
{
    return syscall(SYS_io_uring_setup, 8, NULL);
}
static long try_keyctl(void)
{
    return syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}
static long try_memfd(void)
{
    return memfd_create("x", 0);
}
static long try_tiocsti(void)
{
    return syscall(SYS_ioctl, 0, 0x5412, "x");
}

static const struct {
    const char *name;
    long (*call)(void);
} refused[] = {{"open", try_open},
               {"create a file", try_create},
               {"exec", try_exec},
               {"fork", try_fork},
               {"vfork", try_vfork},
               {"listen", try_listen},
               {"bind", try_bind},
               {"AF_PACKET", try_packet_socket},
               {"AF_NETLINK", try_netlink_socket},
               {"ptrace", try_ptrace},
               {"kill", try_kill_sibling},
               {"tgkill of another", try_tgkill_parent},
               {"setpriority of another", try_slow_sibling},
               {"mount", try_mount},
               {"unshare", try_unshare},
               {"setuid", try_setuid},
               {"unlink", try_unlink},
               {"BPF_PROG_LOAD", try_prog_load},
               {"BPF_MAP_CREATE", try_map_create},
               {"BPF_OBJ_GET", try_obj_get},
               {"PR_SET_DUMPABLE", try_undump},
               {"process_vm_readv", try_process_vm},
               {"io_uring_setup", try_io_uring},
               {"keyctl", try_keyctl},
               {"ioctl TIOCSTI", try_tiocsti}};

static int make_memory(void *arg)
{
    return enter(*(bool *)arg) < 0 ? 100 : try_memfd() < 0 ? errno : 0;
}

static void only_the_controller_makes_memory_to_send(void **state)
{
    (void)state;
    bool worker = true;
    assert_int_equal(in_child(make_memory, &worker), EPERM);
    worker = false;
    assert_int_equal(in_child(make_memory, &worker), 0);
}

struct attempt {
    bool worker;
    size_t which;
};

static int refuse_one(void *arg)
{
    const struct attempt *a = arg;
    if (enter(a->worker) < 0)
        return 100;
    errno = 0;
    long r = refused[a->which].call();
    return r < 0 && errno == EPERM ? 0 : r < 0 ? errno : 99;
}

static void what_nobody_needs_is_refused(void **state)
{
    (void)state;
    for (int worker = 0; worker < 2; worker++)
        for (size_t i = 0; i < SL_ARRAY_LEN(refused); i++) {
            struct attempt a = {.worker = worker, .which = i};
            int r = in_child(refuse_one, &a);
            if (r != 0)
                fail_msg("%s in a %s: %d", refused[i].name, worker ? "worker" : "controller", r);
        }
}

/* ---- what must work */

static void *in_thread(void *arg)
{
    char *p = malloc(1 << 20); /* an arena of its own: mmap, mprotect, madvise */
    *(int *)arg = p != NULL;
    free(p);
    return NULL;
}

static int do_what_a_worker_does(void *arg)
{
    char bytes[32];
    int pair[2], ran = 0, nice;
    pthread_t t;
    if (enter(*(bool *)arg) < 0)
        return 100;
    if (pthread_create(&t, NULL, in_thread, &ran) != 0 || pthread_join(t, NULL) != 0 || !ran)
        return 1;
    int loop = epoll_create1(EPOLL_CLOEXEC), event = eventfd(0, EFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN};
    if (loop < 0 || event < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, event, &e) < 0 ||
        epoll_wait(loop, &e, 1, 0) != 0)
        return 2;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0)
        return 3; /* not needed, so not there */
    if (socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0) < 0 || socket(AF_INET6, SOCK_STREAM, 0) < 0)
        return 4;
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return 5;
    errno = 0;
    nice = getpriority(PRIO_PROCESS, 0); /* -1 may be its niceness */
    if (errno || setpriority(PRIO_PROCESS, 0, nice + 1) < 0)
        return 7;
    void *m = mmap(NULL, 1 << 24, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return m == MAP_FAILED || munmap(m, 1 << 24) < 0 ? 6 : 0;
}

static void what_a_child_does_works(void **state)
{
    (void)state;
    for (int worker = 0; worker < 2; worker++) {
        bool w = worker;
        assert_int_equal(in_child(do_what_a_worker_does, &w), 0);
    }
}

static int abort_inside(void *arg)
{
    (void)arg;
    if (enter(true) < 0)
        return 100;
    abort();
}

/* An assert that fails must end the process at once, or it would go on in a state that cannot be. */
static void an_assertion_still_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(in_child(abort_inside, NULL), -SIGABRT);
}

/* ---- maps, by role */

static int map_errno(enum bpf_cmd command)
{
    union bpf_attr attr = {.map_fd = (unsigned)-1};
    return syscall(SYS_bpf, command, &attr, sizeof(attr)) < 0 ? errno : 0;
}

static int commands_of(void *arg)
{
    bool worker = *(bool *)arg;
    if (enter(worker) < 0)
        return 100;
    /* let through, and then refused by the kernel for the descriptor: -1 is none */
    if (worker)
        return (map_errno(BPF_MAP_UPDATE_ELEM) == EPERM) + 2 * (map_errno(BPF_MAP_LOOKUP_ELEM) != EPERM) +
               4 * (map_errno(BPF_MAP_DELETE_ELEM) != EPERM);
    return (map_errno(BPF_MAP_LOOKUP_ELEM) == EPERM) + 2 * (map_errno(BPF_MAP_UPDATE_ELEM) != EPERM) +
           4 * (map_errno(BPF_MAP_DELETE_ELEM) != EPERM);
}

static void the_controller_reads_maps_and_a_worker_tags_sockets(void **state)
{
    (void)state;
    bool worker = true, controller = false;
    if (map_errno(BPF_MAP_LOOKUP_ELEM) == EPERM) {
        print_message("bpf() is not for this user here\n");
        skip();
    }
    assert_int_equal(in_child(commands_of, &worker), 0);
    assert_int_equal(in_child(commands_of, &controller), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_needs_is_refused),
        cmocka_unit_test(only_the_controller_makes_memory_to_send),
        cmocka_unit_test(what_a_child_does_works),
        cmocka_unit_test(an_assertion_still_ends_the_process),
        cmocka_unit_test(the_controller_reads_maps_and_a_worker_tags_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
