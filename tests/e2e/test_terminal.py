# SPDX-License-Identifier: Apache-2.0
"""sluicectl top in a real terminal (tmux): alive while it runs, and nothing left of it after."""
import os
import re
import shutil
import signal

import pytest
from harness.gateway import SLUICECTL, Gateway
from harness.load import Load
from harness.origin import Origin
from harness.policy import serving
from harness.wait import until

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
P = 8080


class Terminal:
    def __init__(self, host, directory, columns=110, rows=40):
        self._host, self._sock = host, f"{directory}/tmux.sock"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "env PS1='ready> ' sh")
        until(lambda: "ready>" in self.screen(), "a shell")

    def _tmux(self, *args):
        env = {**os.environ, "LC_ALL": "C.UTF-8"}
        env.pop("TMUX", None)
        return self._host.run(["tmux", "-S", self._sock, *args], check=True, env=env).stdout

    def screen(self):
        return self._tmux("capture-pane", "-p")

    def keys(self, *keys):
        self._tmux("send-keys", *keys)

    def say(self, line):
        self.keys("-l", line)
        self.keys("Enter")

    def get(self, variable):
        return self._tmux("display-message", "-p", "#{%s}" % variable).strip()

    def resize(self, columns, rows):
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self):
        self._host.run(["tmux", "-S", self._sock, "kill-server"])


@pytest.fixture
def gw(lo):
    with Origin(lo) as o, Gateway(serving(o, P, tiers={"anonymous": {"rate_limit": {"second": 50, "by": "ip"}}}, routes={"shop": {"paths": ["/"], "upstream": "origin", "auth": ["public"]}, "all": None}), lo) as g:
        yield g


@pytest.fixture
def terminal(lo, tmp):
    t = Terminal(lo, tmp)
    yield t
    t.close()


def stty(terminal, n):
    """The terminal's settings, without what stands before them in their line: who types ahead of a slow shell has its prompt there."""
    terminal.say(f"stty -g && echo done-{n}")
    screen = until(lambda: f"\ndone-{n}" in terminal.screen() and terminal.screen(), "stty")
    return re.findall(r"[0-9a-f]+(?::[0-9a-f]+){10,}", screen.split(f"\ndone-{n}")[0])[-1]


@pytest.mark.parametrize("end", ["q", "C-c", "TERM"])
def test_top_is_alive_and_restores_the_terminal(gw, lo, terminal, end):
    before = stty(terminal, 1)
    terminal.say(f"{SLUICECTL} --socket {gw.socket} top --interval 200ms; echo ended-$?")
    screen = until(lambda: "shop" in terminal.screen() and terminal.screen(), "the first screen")
    for word in ("main", "shop", "anonymous"):
        assert word in screen, screen
    load = Load(lo, "127.0.0.1", P, connections=4, rate=200, seconds=3)

    def moved():
        s = terminal.screen()
        return s != screen and "429" in s or "limited" in s.lower() and s != screen
    until(moved, "the screen to show the load")
    seen = {terminal.screen()}
    until(lambda: (seen.add(terminal.screen()), len(seen) >= 4)[1], "a screen that goes on changing")
    terminal.resize(60, 15)
    until(lambda: max(map(len, terminal.screen().split("\n"))) <= 60 and "main" in terminal.screen(), "the smaller screen")
    terminal.resize(110, 40)
    if end == "TERM":
        from harness.gateway import children
        pane = int(terminal.get("pane_pid"))
        until(lambda: children(pane), "top below the shell")
        os.kill(children(pane)[0], signal.SIGTERM)
    else:
        terminal.keys(end)
    until(lambda: "ended-" in terminal.screen(), "the end")
    assert terminal.get("alternate_on") == "0" and terminal.get("cursor_flag") == "1"
    assert stty(terminal, 2) == before
    load.result()


def test_top_without_a_terminal_prints_once(gw, lo):
    rc, out = gw.ctl("top", "--interval", "200ms")
    assert rc == 0 and "main" in out and "\x1b" not in out
