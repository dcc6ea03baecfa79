# SPDX-License-Identifier: Apache-2.0
"""OpenLDAP's slapd in a host, with a database of its own; killed, started again and changed as a test says."""
import base64
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile

from .wait import until

BINARY, SLAPADD = "/usr/sbin/slapd", "/usr/sbin/slapadd"
BASE = "dc=example,dc=org"
PEOPLE, GROUPS, GATEWAY, ADMIN = f"ou=people,{BASE}", f"ou=groups,{BASE}", f"cn=gateway,{BASE}", f"cn=admin,{BASE}"
_CONF = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {d}/pid
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
sizelimit 600
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw admin
directory {d}/db
maxsize 16777216
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=closed,{base}" by * none
access to * by * read
"""


def _hashed(password):
    salt = os.urandom(8)
    return "{SSHA}" + base64.b64encode(hashlib.sha1(password.encode() + salt).digest() + salt).decode()


def entry(dn, *classes, **attributes):
    """One entry as LDIF; values that are lists are several values, and all are base64, so that any text will do."""
    out = [("dn", dn), *(("objectClass", c) for c in classes)]
    for name, values in attributes.items():
        out += [(name, v) for v in (values if isinstance(values, list) else [values])]
    return "".join(f"{n}:: {base64.b64encode(v.encode()).decode()}\n" for n, v in out) + "\n"


def escape(value):
    """As a name has it (RFC 4514)."""
    return "".join(c if c.isalnum() and c.isascii() else "".join(f"\\{b:02x}" for b in c.encode()) for c in value)


def person(uid, password, ou=PEOPLE, **more):
    return entry(f"uid={escape(uid)},{ou}", "inetOrgPerson", uid=[uid, *more.pop("alias", [])], cn=uid, sn=uid, userPassword=_hashed(password), **more)


def group(name, *members):
    return entry(f"cn={escape(name)},{GROUPS}", "groupOfNames", cn=name, member=[m if m.endswith(BASE) else f"uid={escape(m)},{PEOPLE}" for m in members])


def unit(name):
    return entry(f"ou={name},{BASE}", "organizationalUnit", ou=name)


ROOT = entry(BASE, "dcObject", "organization", dc="example", o="example") + unit("people") + unit("groups") + unit("partners") + unit("closed") + entry(
    GATEWAY, "organizationalRole", "simpleSecurityObject", cn="gateway", userPassword=_hashed("of the service"))


class Slapd:
    """ldif: entries beside those of ROOT. cert: (certificate, key) as PEM files."""

    def __init__(self, host, cert, ldif, port=3890, tls_port=6360):
        self.host, self.port, self.tls_port = host, port, tls_port
        self.dir = tempfile.mkdtemp(prefix="sl-slapd-")
        os.mkdir(f"{self.dir}/db")
        with open(f"{self.dir}/conf", "w") as f:
            f.write(_CONF.format(d=self.dir, cert=cert[0], key=cert[1], base=BASE, admin=ADMIN))
        with open(f"{self.dir}/ldif", "w") as f:
            f.write(ROOT + ldif)
        host.run([SLAPADD, "-q", "-f", f"{self.dir}/conf", "-l", f"{self.dir}/ldif"], check=True)
        self.proc = None
        self.log = open(f"{self.dir}/log", "wb")
        self.start()

    @property
    def url(self):
        return f"ldap://{self.host.address}:{self.port}"

    @property
    def tls_url(self):
        return f"ldaps://{self.host.address}:{self.tls_port}"

    def start(self):
        self.proc = self.host.popen([BINARY, "-f", f"{self.dir}/conf", "-h", f"{self.url} {self.tls_url}", "-d", "stats"],
                                    stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        until(self._up, f"slapd on {self.url}")

    def _up(self):
        assert self.proc.poll() is None, f"slapd: exit {self.proc.returncode}\n{self.said()[-2000:]}"
        for port in (self.port, self.tls_port):
            self.host.connect((self.host.address, port), 5).close()
        return True

    def said(self):
        """Its log: a line for each operation."""
        with open(f"{self.dir}/log", "rb") as f:
            return f.read().decode("utf-8", "replace")

    def binds(self, who=""):
        """How often a bind of a name that has that in it was asked for."""
        return sum(" BIND dn=" in l and "method=128" in l and who in l for l in self.said().splitlines())

    def change(self, ldif):
        """ldapmodify(1) by the administrator."""
        with open(f"{self.dir}/change", "w") as f:
            f.write(ldif)
        self.host.run(["ldapmodify", "-x", "-H", self.url, "-D", ADMIN, "-w", "admin", "-f", f"{self.dir}/change"], check=True)

    def set_password(self, uid, password):
        self.change(f"dn: uid={uid},{PEOPLE}\nchangetype: modify\nreplace: userPassword\nuserPassword: {_hashed(password)}\n")

    def kill(self):
        self.proc.send_signal(signal.SIGKILL)
        self.proc.wait()

    def freeze(self, on=True):
        """It takes connections and answers nothing."""
        self.proc.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.proc.poll() is None:
            self.kill()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)
