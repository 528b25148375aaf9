"""`top`: a live view of a running lab, with keys to fail things."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.live import Live

from emulator.commands.choices import name_option
from emulator.commands.keys import key, single_keys
from emulator.commands.terminal import need_root, stdout
from emulator.device.control import ControlError
from emulator.lab.deployment import DEVICES
from emulator.lab.settings.mirror_channel import MirrorChannel
from emulator.lab.settings.scenario import How
from emulator.lab.topview import View, event_line, lines, plain, summary
from netns.execute import NamespaceError

if TYPE_CHECKING:
    from emulator.lab.instance import Lab

MESSAGE_S = 5.0  # a message stands where the keys are


@click.command()
@name_option
@click.option("--once", is_flag=True, help="print the picture once, as plain text")
@click.option("--plain", "as_text", is_flag=True, help="print a line for everything that changes")
@click.option(
    "--interval", "interval_s", type=click.FloatRange(0.1, 60), default=0.5, show_default=True,
    metavar="SECONDS", help="between two looks",
)  # fmt: skip
def top(name: str, once: bool, as_text: bool, interval_s: float) -> None:
    """Watch a running lab: roles, connections, mirror lag, events; and make things fail.

    \b
      f  failover (run sys failover standby)     l  cut or heal the mirroring channel
      p  power-off of the active device          d  begin or end an outage of the cloud's API
      b  boot the device that is off             q  quit

    Where stdout is no terminal, and with --plain, it prints lines instead: until interrupted, or
    with --once one picture.

    \b
      mirrorlab top
      mirrorlab top --once
      mirrorlab top --plain | tee what-happened.txt
    """
    from emulator.lab.instance import Lab
    from emulator.lab.watch import Watcher

    need_root()
    lab = Lab.load(name)
    watcher = Watcher(lab)
    if once:
        click.echo("\n".join(plain(watcher.look()[0])))
    elif as_text or not (sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"):
        _lines(watcher.look, interval_s, lab)
    else:
        _screen(watcher.look, interval_s, Actions(lab))


def _gone(lab: Lab) -> bool:
    return not lab.folder.exists()


def _lines(look: Callable[..., tuple[View, list]], interval_s: float, lab: Lab) -> None:  # type: ignore[type-arg]
    """Each event, and each change of what stands in a picture but does not tick."""
    before = ""
    while not _gone(lab):
        view, news = look()
        for event in news:
            click.echo(event_line(event))
        now = summary(view)
        if _steady(now) != _steady(before):
            click.echo(f"= {now}")
            before = now
        sys.stdout.flush()
        time.sleep(interval_s)


def _steady(text: str) -> str:
    """Without the numbers that change all the time."""
    return "".join(c for c in text.split("lag")[0] + text.split(";")[-1] if not c.isdigit())


def _screen(look: Callable[..., tuple[View, list]], interval_s: float, actions: Actions) -> None:  # type: ignore[type-arg]
    with single_keys(), Live(console=stdout, screen=True, auto_refresh=False) as live:
        while not _gone(actions.lab):
            view, _ = look()
            deadline = time.monotonic() + interval_s
            while True:
                _draw(live, view, actions.message())
                pressed = key(max(0.0, deadline - time.monotonic()))
                if pressed in ("q", "\x03"):
                    return
                if not pressed:
                    break
                actions.press(pressed)


def _draw(live: Live, view: View, message: str) -> None:
    width, height = stdout.size
    shown = View(**{**vars(view), "message": message})
    drawn = lines(shown, width, height)
    live.update(Group(*drawn), refresh=True)


class Actions:
    """What the keys do: each in a thread of its own, one at a time, so that the view goes on."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._said, self._until = "", 0.0
        self._thread: threading.Thread | None = None
        self._keys: dict[str, tuple[str, Callable[[], str]]] = {
            "f": ("failover", lambda: self._fail(How.FORCE_STANDBY)),
            "p": ("power-off", lambda: self._fail(How.POWER_OFF)),
            "b": ("boot", self._boot),
            "l": ("mirroring channel", self._channel),
            "d": ("API", self._api),
        }

    def message(self) -> str:
        """What is to be said now, if anything."""
        return self._said if time.monotonic() < self._until else ""

    def press(self, pressed: str) -> None:
        """Start what the key stands for."""
        if pressed not in self._keys:
            self._say(f"no such key: {pressed!r}")
            return
        if self._thread is not None and self._thread.is_alive():
            self._say("wait: the last command is still under way")
            return
        what, act = self._keys[pressed]
        self._say(f"{what} ...")
        self._thread = threading.Thread(target=self._run, args=(what, act), daemon=True)
        self._thread.start()

    def _run(self, what: str, act: Callable[[], str]) -> None:
        from emulator.lab.instance import NoSuchLab
        from emulator.lab.wait import LabFault

        try:
            self._say(act())
        except (ControlError, NamespaceError, NoSuchLab, LabFault, ValueError, OSError) as error:
            self._say(f"{what}: {str(error).splitlines()[0]}")

    def _say(self, text: str) -> None:
        self._said, self._until = f" {text} ", time.monotonic() + MESSAGE_S

    def _fail(self, how: How) -> str:
        from emulator.lab.faults import trigger

        active = [node for node in DEVICES if self.lab.status(node).get("role") == "active"]
        if not active:
            raise ValueError("no device is active: nothing to fail over")
        trigger(self.lab, active[0], how)
        return f"{active[0]}: {how.value}"

    def _boot(self) -> str:
        from emulator.lab.faults import silence_ends

        dead = [node for node in DEVICES if not self.lab.status(node)]
        if not dead:
            raise ValueError("no device is off")
        silence_ends(self.lab, dead[0])
        self.lab.start_device(dead[0])
        return f"{dead[0]}: switched on"

    def _channel(self) -> str:
        from emulator.lab.channelfaults import heal, inject

        if heal(self.lab):
            return "mirroring channel: healed"
        inject(self.lab, MirrorChannel(fault="cut", bits_per_s=None, before_failover_s=None))
        return "mirroring channel: cut"

    def _api(self) -> str:
        from emulator.lab.apifaults import toggle_api

        return "API: outage" if toggle_api(self.lab) else "API: answers again"
