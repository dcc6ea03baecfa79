/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: one process, one loop, client traffic. Opens no file and no listening socket, holds no
 * privilege.
 *
 * System calls that a worker makes after the supervisor's filter is on (user/supervisor/seccomp.c keeps the
 * list): accept4 socket connect bind getsockopt setsockopt getsockname getpeername shutdown read write readv
 * writev recvfrom recvmsg sendto sendmsg close dup fcntl(F_DUPFD_CLOEXEC, F_GETFL, F_SETFL, F_GET_SEALS)
 * fstat newfstatat epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 timerfd_create timerfd_settime
 * signalfd4 poll ppoll clock_gettime clock_nanosleep gettimeofday getrandom mmap munmap mprotect mremap
 * madvise brk futex clone3/clone (threads only), set_robust_list rseq rt_sigaction rt_sigprocmask
 * rt_sigreturn sched_yield sched_getaffinity getpid gettid getpriority setpriority (of the calling thread)
 * exit exit_group bpf (BPF_MAP_UPDATE_ELEM on the inherited socket storage).
 */
#ifndef SL_GATEWAY_GATEWAY_H
#define SL_GATEWAY_GATEWAY_H

#include "kernel/kernel.h"
#include "policy/limit.h"
#include "telemetry/counters.h"

struct sl_worker_args {
    int ipc_fd;                     /* the supervisor, SOCK_SEQPACKET; the worker exits when it closes */
    unsigned index;                 /* of this worker: its block of the counters */
    struct sl_counters counters;    /* mapped */
    struct sl_bucket_table buckets; /* mapped */
    struct sl_kernel_fds kernel;    /* -1 where off */
    unsigned files;                 /* descriptors that the process may have; 0: not known */
};

/* Serves until drained or until the supervisor is gone; the process's exit code. */
int sl_worker_run(const struct sl_worker_args *args);

#endif
