# SPDX-License-Identifier: Apache-2.0
"""The rows of identity and limits. Each group is a function that makes its rows."""
import json
import os
import statistics

import consumers
import measure
import neighbour
from harness import jose
from harness.gateway import SLUICED
from http_rows import compare, rounds
from measure import PROXY_CPU, pinned
from proxies import ALGS

NEW_TOKENS = 4000
PEERS = ("haproxy",)


def jwt(p, row):
    """1,000 tokens in rotation against HAProxy; one token against the same route and request without auth."""
    for kind, (alg, limit) in {"rs256": ("RS256", 0.45), "es256": ("ES256", 0.2)}.items():
        tokens = f"{p.run}/{kind}.tokens"
        compare(p, row, f"JWT {alg}, 1,000 tokens in rotation", kind, limit, peers=PEERS, args=("tokens", tokens, "1000"))
    against_itself(p, row, "JWT ES256, one token, against no auth", "es256", "plain", 1.05, args=("tokens", f"{p.run}/es256.tokens", "1"))


def against_itself(p, row, name, kind, base, limit, **load):
    at = {k: p.ready("sluice", k) for k in (kind, base)}
    m = rounds(name, at, lambda k: measure.request_cost(p.host, k, *at[k], **load))
    row(name, m[kind], m[base], limit)


def first(p, row):
    """Nanoseconds for a token that was never seen: all of its authentication against OpenSSL's verification alone."""
    for kind, alg in ALGS.items():
        policy, tokens = f"{p.run}/{kind}.json", f"{p.run}/{kind}.new"
        with open(policy, "w") as f:
            json.dump({"version": 1, **p.policy(kind)}, f)
        with open(tokens, "w") as f:
            f.writelines(f"Bearer {t}\n" for t in new_tokens(p.keys[kind]))
        command = [*pinned(PROXY_CPU), os.path.join(os.path.dirname(SLUICED), "bench/first"), policy, f"{p.run}/{kind}.pub", tokens]

        def one(_):
            measure.gate()
            r = json.loads(p.host.run(command, check=True, timeout=120).stdout)
            return r["whole_ns"], r["verify_ns"]
        costs = [one(r) for r in range(measure.ROUNDS)]
        ours, theirs = (statistics.median(c) for c in zip(*costs))
        row(f"JWT {alg}, first sight of a token, ns, against the bare verification", ours, theirs, 1.15)


def new_tokens(key: jose.Key):
    return (key.token(sub=f"user-{i}", roles=["a", "b"], jti=os.urandom(16).hex(), exp_in=86400) for i in range(NEW_TOKENS))


def refused(p, row):
    compare(p, row, "401 on keep-alive, against HAProxy's deny", "es256", 0.9, peers=PEERS, expect="401")
    compare(p, row, "429 on keep-alive, against HAProxy's deny", "limited", 0.9, peers=PEERS, expect="429")


def windows(p, row):
    against_itself(p, row, "a limit with 4 windows against none", "windows", "plain", 1.01)


GROUPS = {f.__name__: f for f in (jwt, first, refused, windows, consumers.consumers, neighbour.neighbour)}
