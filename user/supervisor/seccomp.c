/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that a controller or worker needs once it runs. Anything else fails with EPERM: a library
 * that tries something optional goes on without it, and an attacker gets nothing; the event is in the audit
 * log where there is one. No open, no exec, no fork of processes, no ptrace, no bind, no listen, no mount, no
 * setuid.
 */
#include "supervisor/supervisor_priv.h"

#include <errno.h>
#include <seccomp.h>

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
    SCMP_SYS(sendfile),
    SCMP_SYS(splice),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(close),
    SCMP_SYS(close_range),
    SCMP_SYS(dup),
    SCMP_SYS(fcntl),
    SCMP_SYS(ioctl),
    SCMP_SYS(fsync),
    SCMP_SYS(pipe2),
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
    SCMP_SYS(tgkill),
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
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(membarrier),
    SCMP_SYS(getcpu),
    SCMP_SYS(sysinfo),
    SCMP_SYS(memfd_create),
    SCMP_SYS(getrusage),
    SCMP_SYS(uname),
    SCMP_SYS(prctl),
    /* map elements through inherited descriptors; programs and new maps need capabilities, which are gone */
    SCMP_SYS(bpf),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

#ifndef CLONE_THREAD
#define CLONE_THREAD 0x00010000
#endif

static int _sl_fill(scmp_filter_ctx ctx)
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
    /* sockets: IPv4, IPv6 and local ones, for upstreams */
    const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    for (size_t i = 0; r == 0 && i < SL_ARRAY_LEN(families); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
    return r;
}

int sl_seccomp_install(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!ctx)
        return -ENOMEM;
    int r = _sl_fill(ctx);
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r;
}
