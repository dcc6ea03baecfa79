# SPDX-License-Identifier: Apache-2.0
"""Policies as dicts: a base that serves, which each test lays its own keys over."""
import copy


def merge(a, b):
    """b over a, by key; None takes a key out."""
    out = copy.copy(a)
    for k, v in b.items():
        if v is None:
            out.pop(k, None)
        elif isinstance(v, dict) and isinstance(out.get(k), dict):
            out[k] = merge(out[k], v)
        else:
            out[k] = v
    return out


def upstream(*origins, **more):
    return {"targets": [{"address": o if isinstance(o, str) else o.target} for o in origins], **more}


def serving(origin, port=8080, address="127.0.0.1", **over):
    """One plain listener "main", one upstream "origin", one public route "all"; over is merged in."""
    base = {
        "workers": 1,
        "listeners": {"main": {"bind": [f"{address}:{port}"]}},
        "upstreams": {"origin": upstream(origin)},
        "routes": {"all": {"upstream": "origin", "auth": ["public"]}},
    }
    return merge(base, over)


def guarded(origin, port=8080, kernel=None, **over):
    """serving() on the addresses of the host "gw" of a Net, with the guard on its interface; kernel: more keys of that section."""
    base = serving(origin, port, kernel={"interfaces": ["eth0"], "mode": "native", **(kernel or {})},
                   listeners={"main": {"bind": [f"10.77.0.1:{port}", f"[fd77::1]:{port}"]}})
    return merge(base, over)


def problem(response, status, reason):
    """Asserts an error of the gateway's own (RFC 9457) and returns it."""
    assert response.status == status, response
    assert response.get("Content-Type") == "application/problem+json", response
    p = response.json()
    assert p["status"] == status and p["title"] and p["detail"] and p["type"] and p["correlation_id"], p
    assert reason in response.body.decode(), (reason, p)
    return p


def yaml_1_2(text):
    """As YAML 1.2 and Sluice read it: on, off, yes and no are words, not PyYAML's booleans."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {first: [(tag, rx) for tag, rx in all if not (tag.endswith(":bool") and first not in "tTfF")]
                                   for first, all in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    return yaml.load(text, Loader)
