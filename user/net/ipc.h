/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages between the supervisor and its children: SOCK_SEQPACKET, one struct a message, its exact
 * length checked, descriptors by SCM_RIGHTS. Strings are NUL-terminated inside fixed arrays; the receiver
 * checks that too. Each side answers nothing that it did not expect.
 */
#ifndef SL_NET_IPC_H
#define SL_NET_IPC_H

#include "base/ip.h"

#define SL_IPC_MAX_FDS 250 /* the kernel takes 253 (SCM_MAX_FD) */

enum sl_ipc_type {
    /* supervisor -> child */
    SL_IPC_SNAPSHOT =
        1,         /* fds[0]: the bundle's memfd; then listening sockets, in the order of (listener, bind) */
    SL_IPC_DRAIN,  /* finish what is under way by deadline_ns, then exit */
    SL_IPC_REOPEN, /* fds[0]: the access log, newly opened by the supervisor */
    SL_IPC_RESULT, /* answer to a request of the controller's; fds[0] may be a memfd with text */
    SL_IPC_STATE,  /* to the controller: what the supervisor knows (processes, attach modes), memfd JSON in
                      fds[0] */
    SL_IPC_LISTEN, /* the supervisor before has let go: what was held by a SNAPSHOT serves from now on */
    SL_IPC_KEYS, /* to a worker: keys of a provider, fetched by the controller; fds[0]: a memfd with them. To
                    one that is new in its place, a controller or another supervisor too: what its
                    predecessor had */
    SL_IPC_KEYS_WANTED, /* to the controller: a worker met a token whose key it does not know */
    SL_IPC_SHARE,       /* to the controller: what other hosts are to put in or take back as this one did */
    SL_IPC_ERRANDS,     /* fds[0]: an end of a new pair between a worker and the controller (net/errand.h) */
    SL_IPC_LAST_CALLED, /* to a worker: sockets that a SNAPSHOT with last_call has left open are closed */
    /* child -> supervisor */
    SL_IPC_READY = 64,   /* serves `version` */
    SL_IPC_PENALTY,      /* worker: escalation; controller: an operator's */
    SL_IPC_RELOAD,       /* controller: read the policy again and apply it, for good or on trial */
    SL_IPC_CONFIRM,      /* controller: the policy on trial stays */
    SL_IPC_ROLLBACK,     /* controller: the policy before comes back */
    SL_IPC_LIST,         /* controller: deny or allow a prefix, or take it back */
    SL_IPC_DETACH,       /* controller: take the guard off the interfaces */
    SL_IPC_UPGRADE,      /* controller: the program at the supervisor's path takes over */
    SL_IPC_KEYS_FETCHED, /* controller: for SL_IPC_KEYS */
    SL_IPC_KEYS_UNKNOWN, /* worker: for SL_IPC_KEYS_WANTED */
    SL_IPC_SHARED,       /* controller: what another host has put in or taken back */
    /* supervisor -> the one that takes over */
    SL_IPC_HAND = 128, /* fds: the listening sockets of one address */
    SL_IPC_HAND_REST,  /* fds: what `has` says, in the order of its bits; nothing follows until GO */
    SL_IPC_GO,         /* it is yours */
    /* and back */
    SL_IPC_TAKEN, /* every process of it serves; or why it cannot, fds[0] may be a memfd with text */
};

struct sl_ipc_header {
    uint32_t type; /* enum sl_ipc_type */
    uint32_t size; /* of the whole message */
    uint64_t id;   /* of a request; SL_IPC_RESULT repeats it */
};
struct sl_ipc_snapshot {
    struct sl_ipc_header h;
    uint64_t version;
    uint32_t n_sockets;
    uint32_t hold;                /* 1: nothing is accepted before LISTEN */
    uint8_t more[SL_IPC_MAX_FDS]; /* sockets of the k-th address beyond its first one */
    uint8_t last_call;            /* 1: what is not among them stays open until LAST_CALLED */
    uint8_t zero[5];
};
struct sl_ipc_drain {
    struct sl_ipc_header h;
    uint64_t deadline_ns;
    uint32_t
        patient; /* 1: another process accepts on our sockets, and who is idle may ask once more until then
                  */
    uint32_t zero;
};
struct sl_ipc_ready {
    struct sl_ipc_header h;
    uint64_t version;
    int32_t error; /* 0 or -errno: the child could not take the snapshot and serves the old one */
    uint32_t zero;
};
struct sl_ipc_result {
    struct sl_ipc_header h;
    int32_t error;  /* 0 or -errno */
    uint32_t trial; /* 1: the policy in force waits to be confirmed */
    uint64_t value; /* deadline, count or version, by request */
};
struct sl_ipc_penalty {
    struct sl_ipc_header h;
    struct sl_ip source, destination;
    uint16_t source_port, destination_port;
    uint32_t effect; /* enum sl_penalty_scope */
    uint64_t cookie; /* flow only: of the socket (SO_COOKIE); 0: not known */
    uint64_t duration_ns, max_ns;
    uint32_t rejections, manual;
    char consumer[SL_NAME_LEN], rule[SL_NAME_LEN];
};
struct sl_ipc_list {
    struct sl_ipc_header h;
    struct sl_cidr prefix;
    uint32_t verdict; /* enum sl_list_verdict; 0: remove the entry and its penalties */
    uint64_t for_ns;
};
enum sl_shared_kind {
    SL_SHARED_PENALTY = 1, /* of an address */
    SL_SHARED_DENY,        /* an operator's, with an end */
    SL_SHARED_REVOKED,     /* all of both in the range */
};
struct sl_ipc_shared { /* SHARE, SHARED */
    struct sl_ipc_header h;
    struct sl_cidr prefix; /* of a penalty: the address, or an IPv6 /64 */
    uint16_t zero;
    uint32_t kind;              /* enum sl_shared_kind */
    uint32_t effect;            /* the rest: of penalties, but for left_ns */
    uint32_t level, rejections; /* as in struct sl_penalty_value */
    uint64_t left_ns;           /* until its end, since clocks differ; of what is revoked: 0 */
    char consumer[SL_NAME_LEN], rule[SL_NAME_LEN];
};
struct sl_ipc_reload {
    struct sl_ipc_header h;
    uint64_t confirm_ns; /* the policy before comes back after that long without a CONFIRM; 0: it does not */
};
#define SL_KEYS_BYTES (1024 * 1024) /* of a set of keys */
struct sl_ipc_keys { /* KEYS, KEYS_FETCHED; without a descriptor the keys are those from before */
    struct sl_ipc_header h;
    uint64_t source;      /* sl_remote_keys.source */
    uint64_t deadline_ns; /* CLOCK_MONOTONIC: they count for nothing after it; 0: as before */
    uint64_t fetched_ns;  /* when they were had of the provider last */
};
struct sl_ipc_wanted { /* KEYS_WANTED, KEYS_UNKNOWN */
    struct sl_ipc_header h;
    uint64_t source;
    uint32_t none; /* 1: the worker has no keys of it at all */
    uint32_t zero;
};
struct sl_ipc_errands {
    struct sl_ipc_header h;
    uint32_t worker; /* its index: the pair takes the place of its former one */
    uint32_t zero;
};
struct sl_ipc_plain { /* of the header alone: REOPEN, CONFIRM, ROLLBACK, DETACH, STATE, LISTEN, LAST_CALLED,
                         UPGRADE, GO */
    struct sl_ipc_header h;
};
struct sl_ipc_hand {
    struct sl_ipc_header h;
    struct sl_sockaddr address;
    uint32_t admin; /* 1: of the admin API */
};
enum sl_ipc_handed {
    SL_HANDED_LOCK = 1,     /* on the state directory */
    SL_HANDED_BUNDLE = 2,   /* of the policy in force: its slots */
    SL_HANDED_COUNTERS = 4, /* the shared region */
    SL_HANDED_PINS = 8,     /* lock on the guard's pins */
    SL_HANDED_BUCKETS = 16, /* the bucket table where the guard is off */
    SL_HANDED_ALL = 31,
};
struct sl_ipc_hand_rest {
    struct sl_ipc_header h;
    uint64_t version; /* of the policy in force */
    uint64_t layout;  /* of the shared region: sl_counters_layout() */
    uint64_t bucket_seed;
    uint32_t has; /* enum sl_ipc_handed */
    uint32_t zero;
};
union sl_ipc {
    struct sl_ipc_header h;
    struct sl_ipc_snapshot snapshot;
    struct sl_ipc_drain drain;
    struct sl_ipc_ready ready;
    struct sl_ipc_result result;
    struct sl_ipc_penalty penalty;
    struct sl_ipc_list list;
    struct sl_ipc_shared shared;
    struct sl_ipc_reload reload;
    struct sl_ipc_keys keys;
    struct sl_ipc_wanted wanted;
    struct sl_ipc_errands errands;
    struct sl_ipc_plain plain;
    struct sl_ipc_hand hand;
    struct sl_ipc_hand_rest rest;
};

/* Whether it may be told and taken: a penalty of one source for at most 7 days, a deny of no more than what a
 * registry gives to one network (IPv4 /8, IPv6 /32) for at most 366, or a revocation. */
bool sl_ipc_shared_ok(const struct sl_ipc_shared *m);
/* Exact size of a type's message; 0 for an unknown type. */
size_t sl_ipc_size(uint32_t type);
/* Sends m (h.type set by the caller, h.size by this) with n_fds descriptors: 0, -EAGAIN when the peer is
 * slow, or another -errno. Descriptors stay the caller's. */
int sl_ipc_send(int sock, union sl_ipc *m, const int *fds, size_t n_fds);
/* Receives one: 1 with *m and fds filled (*n_fds in: room, out: got; now the caller's), 0 nothing there,
 * -EPIPE peer closed, -EPROTO a message of wrong size or type (its descriptors are closed). */
int sl_ipc_recv(int sock, union sl_ipc *m, int *fds, size_t *n_fds);

#endif
