/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that a controller or worker needs once it runs. Anything else fails with EPERM: a library
 * that tries something optional goes on without it, and an attacker gets nothing; the event is in the audit
 * log where there is one. No open, no exec, no fork of processes, no ptrace, no bind, no listen, no mount, no
 * setuid.
 */
#include "supervisor/supervisor_priv.h"

#include <errno.h>
#include <linux/bpf.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const int _sl_allowed[] = {
    /* input and output on what was inherited, accepted or connected */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(close),
    SCMP_SYS(close_range),
    SCMP_SYS(dup),
    SCMP_SYS(fcntl),
    /* sockets: accepting and connecting, never listening */
    SCMP_SYS(accept4),
    SCMP_SYS(connect),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    /* the event loop */
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    /* time, randomness, signals, identity */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getppid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(restart_syscall),
    /* memory, and the access log's writer thread */
    SCMP_SYS(brk),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(membarrier),
    SCMP_SYS(getcpu),
    SCMP_SYS(sysinfo),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

#ifndef CLONE_THREAD
#define CLONE_THREAD 0x00010000
#endif

#define SL_ALLOW_FIRST(ctx, call, value) \
    seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(call), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)(value)))

/* Calls that are allowed with one first argument only. */
static int _sl_fill_narrow(scmp_filter_ctx ctx, bool worker)
{
    int r = 0;
    /* sockets: IPv4, IPv6 and local ones, for upstreams */
    const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    for (size_t i = 0; r == 0 && i < SL_ARRAY_LEN(families); i++)
        r = SL_ALLOW_FIRST(ctx, socket, families[i]);
    if (r == 0 && !worker) /* fetched keys go to the workers in sealed memory */
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(memfd_create), 0);
    /* elements of maps, through inherited descriptors: a worker puts consumers into its sockets' storage, the
     * controller reads counters and penalties, and writes nothing */
    const int writes[] = {BPF_MAP_UPDATE_ELEM},
              reads[] = {BPF_MAP_LOOKUP_ELEM, BPF_MAP_GET_NEXT_KEY, BPF_OBJ_GET_INFO_BY_FD};
    const int *commands = worker ? writes : reads;
    for (size_t i = 0; r == 0 && i < (worker ? SL_ARRAY_LEN(writes) : SL_ARRAY_LEN(reads)); i++)
        r = SL_ALLOW_FIRST(ctx, bpf, commands[i]);
    if (r == 0) /* abort(), to itself and to no sibling of the same user */
        r = SL_ALLOW_FIRST(ctx, tgkill, getpid());
    /* the thread that builds a policy gives way to the loop: its own niceness, never another's */
    const int niceness[] = {SCMP_SYS(getpriority), SCMP_SYS(setpriority)};
    for (size_t i = 0; r == 0 && i < SL_ARRAY_LEN(niceness); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, niceness[i], 2, SCMP_A0(SCMP_CMP_EQ, PRIO_PROCESS),
                             SCMP_A1(SCMP_CMP_EQ, 0));
    if (r == 0) /* the log's thread has a name */
        r = SL_ALLOW_FIRST(ctx, prctl, PR_SET_NAME);
    return r;
}

static int _sl_fill(scmp_filter_ctx ctx, bool worker)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(_sl_allowed); i++) {
        int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, _sl_allowed[i], 0);
        if (r < 0)
            return r;
    }
    /* clone only for threads; clone3 hides its flags in memory: ENOSYS makes libc fall back to clone */
    int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return r == 0 ? _sl_fill_narrow(ctx, worker) : r;
}

int sl_seccomp_install(bool worker)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!ctx)
        return -ENOMEM;
    /* refused calls are told to the audit log where libseccomp and the kernel can; calls of another ABI (x32,
     * i386) kill, since their numbers mean something else */
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = _sl_fill(ctx, worker);
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r;
}
