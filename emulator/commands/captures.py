"""Looking at packets: `capture` in a running lab, `wireshark` to install profile and dissector."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from emulator.commands.choices import name_option
from emulator.commands.terminal import CANNOT, FAULT, USAGE, Fail, need_root

_ENDED = {"reader": "the reader went away", "lab": "lab {name} went down", "asked": "stopped"}
_PATIENCE_S = 30


@click.command()
@click.argument("where", nargs=-1, required=True, metavar="NODE[:IF]...")
@click.option("-w", "target", metavar="FILE", help="write pcapng to FILE, - for standard output")
@click.option("-f", "expression", metavar="FILTER", help='capture filter: "host vip and port 22"')
@name_option
def capture(where: tuple[str, ...], target: str | None, expression: str | None, name: str) -> None:
    """Capture at NODE, or at its interface IF, of a running lab until Ctrl-C.

    \b
      mirrorlab capture bigip-a bigip-b:ext           (a line a packet)
      mirrorlab capture bigip-a:ext -w - | wireshark -k -i -
      mirrorlab capture client router -f "host vip and port 22" -w vip.pcapng

    Without IF all interfaces of the node. Interfaces are named in the file, and so are the lab's
    addresses, which FILTER may use.
    """
    from emulator.kernel.sniffer import FilterError
    from emulator.lab import livecapture
    from emulator.lab.instance import Lab

    need_root()
    if target == "-" and sys.stdout.isatty():
        raise Fail("-w - writes a capture file, not text: send it to a file or a program", USAGE)
    lab = Lab.load(name)
    try:
        points = livecapture.choose(lab.world, where)
        program = livecapture.filter_program(lab, expression) if expression else None
    except livecapture.UnknownPoint as error:
        raise Fail(str(error), USAGE) from None
    except FilterError as error:
        raise Fail(f"capture filter {expression!r}: {error}", USAGE) from None

    def follow(out: int) -> None:
        names = ", ".join(f"{p.node}:{p.interface}" for p in points)

        def ready() -> None:
            click.echo(f"capturing at {names}; Ctrl-C ends it", err=True)

        with _until_interrupted() as stop:
            ended = livecapture.stream(lab, points, out, program=program, ready=ready, stop=stop)
        lost = f", {ended.lost} more were lost" if ended.lost else ""
        why = _ENDED[ended.why].format(name=name)
        click.echo(f"{why}: {ended.frames} frames captured{lost}", err=True)

    if target is None:
        _as_text(follow)
    elif target == "-":
        follow(sys.stdout.fileno())
    else:
        _to_file(target, follow)


def _to_file(target: str, follow: Callable[[int], None]) -> None:
    try:
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Fail(f"{target}: {error.strerror}", USAGE) from None
    try:
        user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
        if user and group:
            os.fchown(out, int(user), int(group))
        follow(out)
    except OSError as error:
        raise Fail(f"{target}: {error.strerror or error}", FAULT) from None
    finally:
        os.close(out)


def _as_text(follow: Callable[[int], None]) -> None:
    """A line a packet, by tshark with the project's own profile."""
    from emulator.lab import wireshark

    argv = ["tshark", "-l", "-C", wireshark.PROFILE, "-r", "-"]
    with tempfile.TemporaryFile("w+") as complaints:
        try:
            reader = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stderr=complaints,
                env=wireshark.environment(os.environ),
                start_new_session=True,  # Ctrl-C is for us: it reads what we still send
            )
        except OSError as error:
            raise Fail(f"tshark: {error.strerror}", CANNOT) from None
        except wireshark.WiresharkError as error:
            raise Fail(str(error), CANNOT) from None
        assert reader.stdin is not None
        try:
            follow(reader.stdin.fileno())
        finally:
            reader.stdin.close()
            try:
                reader.wait(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                reader.kill()
                reader.wait()
        complaints.seek(0)
        if text := wireshark.said(complaints.read()):
            click.echo(text, err=True)


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Says when the user has asked for the end: the first signal lets what was captured be
    written, a second one is what it is everywhere else."""
    asked = False
    endings = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[int, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in endings:
        before[number] = signal.signal(number, ask)
    try:
        yield lambda: asked
    finally:
        restore()


@click.command()
@click.option("--replace", is_flag=True, help="also files of yours that differ; keeps a copy")
def wireshark(replace: bool) -> None:
    """Install the Wireshark profile "mirrorlab" and the dissector for the user who calls this.

    Without it: WIRESHARK_CONFIG_DIR=captures/wireshark wireshark -C mirrorlab

    \b
      mirrorlab wireshark
      mirrorlab wireshark --replace
    """
    from emulator.lab import wireshark as shipped

    if os.environ.get("SUDO_UID") and os.geteuid() == 0:
        raise Fail("run this without sudo: it installs into the caller's own folders", USAGE)
    try:
        lines = shipped.install(replace=replace)
    except shipped.WiresharkError as error:
        raise Fail(str(error), USAGE) from None
    except OSError as error:
        raise Fail(f"{error.filename}: {error.strerror}", CANNOT) from None
    for line in lines:
        click.echo(line)
    click.echo("now: wireshark -C mirrorlab captures/runs/.../run.pcapng")
