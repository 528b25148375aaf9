"""From a capture file and what the user wants of it to a `Replay`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emulator.lab.replay.account import Json, flow_recorded
from emulator.lab.replay.flows import End, Flow, matching
from emulator.lab.replay.origin import Origin, differences, origin_of
from emulator.lab.replay.recording import (
    Moment,
    Progress,
    Recording,
    RecordingError,
    extract,
    survey,
)
from emulator.lab.replay.script import ScriptWriter
from emulator.lab.replay.traffic import Part, Replay
from emulator.lab.settings.scenario import Scenario

MAX_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for: which flows, the failover's moment, the pace."""

    flows: str | None = None
    moment: Moment | None = None
    speed: float = 1.0


def look(
    path: Path, wish: Wish, progress: Progress | None = None
) -> tuple[Recording, Origin | None]:
    """The recording, and where it comes from; raises RecordingError, OSError."""
    origin = origin_of(path)
    moment = wish.moment
    if moment is None and origin is not None and origin.failover_s is not None:
        moment = Moment(clock_ns=int(origin.failover_s * 1e9))
    return survey(path, moment, progress), origin


def chosen(found: Recording, wanted: str | None, *, silent: bool = False) -> list[Flow]:
    """The flows to replay, with `silent` those without payload, too; raises RecordingError when
    there are none, or too many."""
    try:
        flows = found.flows if wanted is None else list(matching(found.flows, wanted))
    except ValueError as error:
        raise RecordingError(str(error)) from error
    if not flows:
        last = max(flow.number for flow in found.flows)
        raise RecordingError(
            f"{found.path}: no flow is {wanted}; it has {len(found.flows)}, numbers up to {last} "
            "(--list shows them)"
        )
    said = [flow for flow in flows if silent or any(flow.octets)]
    if not said:
        which = f"flow {flows[0].number} has" if len(flows) == 1 else "its flows have"
        raise RecordingError(f"{found.path}: {which} no payload: nothing to replay")
    if len(said) > MAX_AT_ONCE:
        raise RecordingError(
            f"{found.path}: {len(said)} flows with payload, at most {MAX_AT_ONCE} can be replayed "
            "at once: choose with --flow (--list shows them)"
        )
    return said


def prepare(
    found: Recording,
    origin: Origin | None,
    flows: list[Flow],
    scenario: Scenario,
    wish: Wish,
    folder: Path,
    progress: Progress | None = None,
) -> Replay:
    """Write the scripts into `folder`; raises RecordingError, OSError."""
    writer = ScriptWriter(folder, found.first_ns, found.at_frame)
    try:
        extract(found, frozenset(flow.number for flow in flows), writer, progress)
    finally:
        writer.close()
    numbers = {flow.number for flow in flows}
    flows = [flow for flow in found.flows if flow.number in numbers]
    mark = None
    if scenario.failover is not None:
        mark = _mark(found, writer)
    parts = tuple(
        Part(f.number, writer.path(f.number), _since(found, f.first_ns), _since(found, f.last_ns))
        for f in flows
    )
    return Replay(parts, mark, wish.speed, _recorded(found, origin, flows, scenario, wish, mark))


def _mark(found: Recording, writer: ScriptWriter) -> tuple[int, float]:
    """Where the failover comes: as wished, or as it came in the recorded run, or in the middle
    of the bytes."""
    frame, time_ns = found.at_frame, found.at_ns
    if not time_ns:
        frame, time_ns = writer.middle()
    return frame, _since(found, time_ns)


def _since(found: Recording, time_ns: int) -> float:
    return max(0.0, (time_ns - found.first_ns) / 1e9)


def _recorded(
    found: Recording,
    origin: Origin | None,
    flows: list[Flow],
    scenario: Scenario,
    wish: Wish,
    mark: tuple[int, float] | None,
) -> Json:
    known = origin.scenario if origin else None
    return {
        "file": str(found.path),
        "frames": found.frames,
        "duration_s": round(found.duration_s, 6),
        "warning": found.warning or None,
        "flow_count": len(found.flows),
        "replayed": len(flows),
        "speed": wish.speed,
        "failover_at_s": round(mark[1], 6) if mark else None,
        "failover_after_frame": mark[0] if mark else None,
        "scenario": scenario.name,
        "recorded_under": origin.name if origin else None,
        "differences": differences(known, scenario) if known else None,
        "flows": [_flow(flow, found) for flow in flows],
    }


def _flow(flow: Flow, found: Recording) -> Json:
    recorded = flow_recorded(flow, found.first_ns, found.last_ns)
    open_ = recorded["end"] in (End.OPEN.value, End.STALLED.value)
    return {**recorded, "end_cut_off": bool(found.warning) and open_}


def listing(found: Recording) -> list[Json]:
    """All flows of a recording, as data."""
    return [_flow(flow, found) for flow in found.flows]
