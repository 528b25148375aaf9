"""What every command shares: exit status, one clear line for an error, the way out.

Results go to `stdout`, progress and logs to `stderr`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from emulator.device.control import ControlError
from emulator.lab.interrupts import unwind_on_signals
from emulator.lab.wait import LabFault
from netns import doctor as host
from netns.build import BuildError
from netns.execute import NamespaceError

RUNS = Path("captures/runs")
NOT_AS_EXPECTED, USAGE, CANNOT, FAULT, INTERRUPTED = 1, 2, 3, 4, 130
_PIPED_WIDTH = 160  # a table in a file is not as narrow as a terminal that is not there
stdout = Console(
    highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH
)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


class Fail(click.ClickException):
    """One clear line and an exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        click.echo(f"mirrorlab: {self.message}", err=True)


def unwritable(error: OSError, place: Path) -> Fail:
    """What to say when `place` could not be written to: a full disk is this host's."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Fail(f"{error.filename or place}: {error.strerror}", CANNOT if full else USAGE)


def need_root() -> None:
    """Everything that makes namespaces needs root."""
    if os.geteuid() != 0:
        raise Fail("this needs root: run it with sudo", CANNOT)


def need_host(wanted: Collection[str] = ()) -> None:
    """Root, programs and kernel features, among them those `wanted` that not every lab needs; says
    all that is missing, and how to get it."""
    need_root()
    lacking = host.missing(host.examine(), wanted)
    if lacking:
        what = "; ".join(f"{c.name}: {c.detail} (needs: {c.remedy})" for c in lacking)
        raise Fail(f"this host lacks {what}", CANNOT)


def need_peers(kinds: set[str]) -> None:
    """The peers' programs; raises Fail, naming the packages."""
    from emulator.lab.peers.dataplane import absent

    lacking = sorted({name for kind in kinds for name in absent(kind)})
    if lacking:
        packages = " ".join(lacking)  # each is in the Debian package of its name
        raise Fail(f"this host lacks {packages}: sudo .ci/apt-install {packages}", CANNOT)


class Main(click.Group):
    """Commands by the module below `emulator.commands` that has them; turns the package's own
    errors into one line and the documented status."""

    def __init__(self, *args: Any, commands_in: Mapping[str, str] | None = None, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._modules = dict(commands_in or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._modules:
            return None
        module = import_module(f"emulator.commands.{self._modules[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        from emulator.lab.instance import LabExists, NoSuchLab

        try:
            return super().invoke(ctx)
        except (LabExists, NoSuchLab, ControlError) as error:
            raise Fail(str(error), USAGE) from error
        except (LabFault, BuildError, NamespaceError) as error:
            raise Fail(f"lab fault: {error}", FAULT) from error


def run_command(command: click.Command) -> NoReturn:
    """Run a command to the process's end, whatever that is."""
    unwind_on_signals()
    start: Callable[..., Any] = command.main
    try:
        start(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("mirrorlab: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
