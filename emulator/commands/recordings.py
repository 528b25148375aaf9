"""`replay`: recorded flows between real ends, under any scenario."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from emulator.commands.choices import (
    format_option,
    in_world,
    read_scenario,
    with_virtual_server,
    world_option,
)
from emulator.commands.terminal import (
    FAULT,
    NOT_AS_EXPECTED,
    RUNS,
    USAGE,
    Fail,
    need_host,
    stderr,
    stdout,
    unwritable,
)
from emulator.lab.replay.account import Json, ended
from emulator.lab.replay.flows import Flow
from emulator.lab.replay.prepare import Wish, chosen, listing, look, prepare
from emulator.lab.replay.recording import Moment, Recording, RecordingError
from emulator.lab.replay.traffic import Replay
from emulator.lab.settings.scenario import Failover, How, Scenario
from emulator.lab.spool import spool

_BAR_FROM = 20 << 20  # bytes: a smaller file is read before a bar could be seen
_LONG_S = 120.0


@click.command()
@click.argument("recording", metavar="PCAP", type=click.Path(path_type=Path))
@click.option("--scenario", default="article-snat-pool", show_default=True, help="name or file")
@click.option("--list", "only_list", is_flag=True, help="show the flows of the recording, no more")
@click.option("--flow", "flows", help="numbers (3 or 1,4-6), 'port 22', 'host 192.0.2.1', 'A:PORT'")
@click.option(
    "--packets", is_flag=True,
    help="send the client's packets of one flow as they are, and say what became of each",
)  # fmt: skip
@click.option("--at", type=float, help="the failover comes so many seconds into the recording")
@click.option("--at-frame", type=int, help="the failover comes after this frame of it")
@click.option("--how", type=click.Choice([h.value for h in How]), help="another kind of failover")
@click.option(
    "--speed", type=click.FloatRange(0.01, 1000), default=1.0, show_default=True,
    help="times the recorded pace",
)  # fmt: skip
@world_option
@click.option(
    "--virtual-server", "kind", type=click.Choice(["fastL4", "standard"]),
    help="another type of virtual server",
)  # fmt: skip
@click.option(
    "--commit", type=click.Choice(["async", "sync"]), help="how a standard one is mirrored"
)
@format_option
@click.option(
    "--output", type=click.Path(path_type=Path), default=RUNS, show_default=True,
    help="where the run's folder is made",
)  # fmt: skip
def replay(  # one parameter an option
    recording: Path,
    scenario: str,
    only_list: bool,
    flows: str | None,
    packets: bool,
    at: float | None,
    at_frame: int | None,
    how: str | None,
    speed: float,
    kind_of_world: str | None,
    kind: str | None,
    commit: str | None,
    form: str,
    output: Path,
) -> None:
    """Replay the TCP flows of PCAP through the pair, with a failover in the middle.

    Takes a capture file of yours (pcap, pcapng; SSH, telnet, FTP, HTTP, anything over TCP)
    or run.pcapng of a run of the lab, and says its bytes again, in their order and at their
    pace, between a client and a backend: real TCP ends, every byte compared.

    \b
      mirrorlab replay my.pcap --list
      mirrorlab replay my.pcap --scenario article --flow 'port 22' --at 12.5
      mirrorlab replay captures/runs/...-article-.../run.pcapng --scenario article-snat-pool

    The last one is the point: a session that was recorded when it died, under other causes.
    Without --at or --at-frame the failover comes where it came in the recorded run, else when
    half of the bytes have been said.
    """
    from emulator.lab.endpoints import wanted as programs_for

    if at is not None and at_frame is not None:
        raise Fail("--at and --at-frame exclude each other", USAGE)
    moment = None if at is None and at_frame is None else Moment(at_frame, at)
    wish = Wish(flows, moment, speed)
    with _readable():
        if only_list:
            _list(recording, wish, form)
            return
        wanted = in_world(read_scenario(scenario), kind_of_world)
        wanted = with_virtual_server(wanted, type=kind, commit=commit)
        wanted = _for_replay(wanted, how, moment)
        with _reading(recording) as progress:
            found, origin = look(recording, wish, progress)
        picked = chosen(found, flows, silent=packets)
    _warn(found)
    need_host(programs_for(wanted))
    if packets:
        with _readable():
            _packets(wanted, found, picked, form, output)
        return
    with spool() as folder:
        with _readable(), _reading(recording) as progress:
            told = prepare(found, origin, picked, wanted, wish, folder, progress)
        _run(told, wanted, form, output)


def _for_replay(scenario: Scenario, how: str | None, moment: Moment | None) -> Scenario:
    """With a failover where one is asked for; without what is expected of other sessions."""
    fault = scenario.mirror_channel
    if fault is not None and fault.before_failover_s is not None:
        raise Fail(
            f"{scenario.name}: mirror_channel.before_failover_s: a replay's failover comes at a "
            "place in the recording; leave it out, and the channel is at fault from the start",
            USAGE,
        )
    if scenario.virtual_server.protocol == "udp":
        raise Fail(f"{scenario.name}: virtual_server.protocol udp: replays are of TCP", USAGE)
    if scenario.devices.data_plane != "bigip":
        text = f"devices.data_plane {scenario.devices.data_plane}: replays go through the lab's own"
        raise Fail(f"{scenario.name}: {text}", USAGE)
    failover = scenario.failover
    if failover is None and (how is not None or moment is not None):
        failover = Failover()
    if failover is not None and how is not None:
        failover = Failover(how=How(how), after_s=failover.after_s)
    changes: dict[str, object] = {"failover": failover, "expect": {}, "expect_member": None}
    return scenario.model_copy(update=changes)


@contextmanager
def _readable() -> Iterator[None]:
    """A file that cannot be used is one line."""
    try:
        yield
    except RecordingError as error:
        raise Fail(str(error), USAGE) from error
    except OSError as error:
        raise Fail(f"{error.filename or 'recording'}: {error.strerror}", USAGE) from error


@contextmanager
def _reading(path: Path) -> Iterator[Callable[[int, int], None] | None]:
    """A bar where it takes long enough to be seen."""
    if not path.is_file() or path.stat().st_size < _BAR_FROM:
        yield None
        return
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("reading")
        yield lambda done, size: bar.update(task, completed=done, total=size)


def _warn(found: Recording) -> None:
    if found.warning:
        stderr.print(f"mirrorlab: warning: {found.path}: {found.warning}", markup=False)
    if found.left_out:
        stderr.print(f"mirrorlab: warning: {found.left_out} segments of too many flows left out")


def _list(path: Path, wish: Wish, form: str) -> None:
    with _reading(path) as progress:
        found, _ = look(path, wish, progress)
    flows = listing(found)
    _warn(found)
    if form == "json":
        summary = {"file": str(path), "frames": found.frames, "duration_s": found.duration_s}
        click.echo(json.dumps({**summary, "flows": flows}, indent=2))
        return
    click.echo(f"{path}: {found.frames} frames, {found.duration_s:.3f} s, {len(flows)} TCP flows")
    for flow in flows:
        click.echo(_row(flow))


def _row(flow: Json) -> str:
    size = flow["bytes"]
    begun = "" if flow["from_its_beginning"] else ", from the middle on"
    return (
        f"{flow['number']:>5}  {flow['client']} -> {flow['server']}  {flow['application']}  "
        f"{size['to_server']}/{size['to_client']} bytes  from {flow['started_s']:.3f} s, "
        f"{flow['duration_s']:.3f} s long{begun}; {ended(flow)}"
    )


def _run(told: Replay, scenario: Scenario, form: str, output: Path) -> None:
    from emulator.lab.result import as_expected
    from emulator.lab.runner import run_scenario
    from emulator.lab.story import story

    start = time.monotonic()
    lasts_s = (told.ends_s - told.begins_s) / told.speed
    if lasts_s > _LONG_S:
        stderr.print(f"the recording takes {lasts_s:.0f} s at this pace; --speed shortens it")
    with stderr.status("starting") as status:

        def progress(text: str) -> None:
            elapsed = time.monotonic() - start
            if stderr.is_terminal:
                status.update(f"{text}  [dim]{elapsed:.0f} s[/dim]")
            else:
                stderr.print(f"{elapsed:6.1f} s  {text}")

        try:
            done = run_scenario(scenario, output, progress=progress, traffic=told)
        except OSError as error:
            raise unwritable(error, output) from error
    if form == "json":
        click.echo(json.dumps(done.result, indent=2))
    else:
        stdout.print(story(done.result, str(done.folder)))
    if done.result["void"]:
        sys.exit(FAULT)
    if not as_expected(done.result):
        sys.exit(NOT_AS_EXPECTED)


def _packets(
    scenario: Scenario, found: Recording, picked: list[Flow], form: str, output: Path
) -> None:
    from emulator.lab.replay.packets import replay_packets

    if len(picked) != 1 or scenario.world != "cloud":
        raise Fail("--packets takes one flow (--flow N), in world cloud", USAGE)
    done = replay_packets(scenario, found, picked[0], output, stderr.print)
    if form == "json":
        click.echo(json.dumps(done, indent=2))
        return
    click.echo(f"{done['file']} flow {done['flow']}: {done['client']} -> {done['server']}")
    after = None
    for fate in done["packets"]:
        sent = fate["sent"]
        if sent["after_failover"] != after:
            after = sent["after_failover"]
            click.echo("after the failover:" if after else "before the failover:")
        click.echo(f"  {sent['number']:>5}  {sent['text']:<48}  {fate['text']}")
    click.echo(f"Captures:  {done['folder']}/run.pcapng")
