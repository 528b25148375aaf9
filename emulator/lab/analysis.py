"""A run's folder to its verdict: merge the captures, read the journals, judge, write down.

Can be repeated on any run's folder: nothing but its files is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from emulator import __version__
from emulator.lab.annotate import annotate, names_in
from emulator.lab.capture import merge
from emulator.lab.deployment import world
from emulator.lab.judge import datagrams
from emulator.lab.judge.comments import comments, summary
from emulator.lab.judge.evidence import CAPTURE
from emulator.lab.judge.facts import Facts, Record, gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import judge
from emulator.lab.replay.account import RECORDED, with_replay
from emulator.lab.result import Disturbance, MirrorState, Result, result
from emulator.lab.settings.scenario import Scenario
from emulator.lab.workload.applications import connections
from emulator.wire import pcapng

MAX_LATE_S = 1.0  # a device's timer later than this: the host disturbed us


def analyse(
    folder: Path, scenario: Scenario, disturbance: Disturbance, mirror: MirrorState,
    also: Callable[[Facts], None] = lambda _: None,
) -> Result:  # fmt: skip
    """Merge, judge, write result.json; returns it. `also` is given the facts it rests on."""
    files = [p for n in world(scenario, "x").nodes if (p := folder / f"{n}.pcapng").exists()]
    merge(files, folder / CAPTURE, comment=f"mirrorlab run of scenario {scenario.name}")
    facts = facts_of(folder / CAPTURE, read_journals(folder))
    also(facts)
    reasons = (*disturbance.reasons, *_faults(facts, scenario))
    verdicts = judge(facts)
    found = result(scenario, facts, verdicts, replace(disturbance, reasons=reasons), mirror)
    if (recorded := folder / RECORDED).exists():
        found = with_replay(found, json.loads(recorded.read_text()), facts.records)
    title = f"scenario {scenario.name}: {scenario.title}"
    annotate(
        folder / CAPTURE,
        comments(facts, verdicts),
        section=summary(title, verdicts, __version__, "; ".join(reasons) or None),
        names=names_in(world(scenario, "x"), scenario),
    )
    return _write(folder, found)


def give_up(folder: Path, scenario: Scenario, disturbance: Disturbance, why: str) -> Result:
    """The result of a run whose evidence cannot be read: void."""
    reasons = (*disturbance.reasons, why)
    nothing = gather(trace([]))
    void = replace(disturbance, reasons=reasons)
    return _write(folder, result(scenario, nothing, [], void, MirrorState()))


def _write(folder: Path, found: Result) -> Result:
    (folder / "result.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


def _faults(facts: Facts, scenario: Scenario) -> list[str]:
    """What in the evidence itself says that the lab disturbed the run."""
    found = []
    if facts.cut_frames:
        found.append(f"{facts.cut_frames} frames were cut or malformed")
    for connection in facts.connections:
        if connection.to_client.gap or connection.to_server.gap:
            found.append(f"the capture misses bytes of {connection.name}")
    seen = {c.name for c in facts.connections}
    seen |= {flow.name for flow in datagrams.flows(facts.raw_datagrams, facts.end_ns)}
    replayed = {str(r["session"]) for r in facts.records_of("replayed")}
    due = {name for session in scenario.sessions for name in connections(session)}
    if missing := (replayed or due) - seen:
        found.append(f"the capture has no beginning of {', '.join(sorted(missing))}")
    if cut := facts.records_of("malformed"):
        found.append(f"{cut[0]['node']} could not read a packet: {cut[0]['reason']}")
    for record in facts.records_of("late"):
        if float(str(record["seconds"])) > MAX_LATE_S:
            found.append(f"{record['node']} was {record['seconds']} s late")
    for record in facts.records_of("install-failed", "remove-failed", "data-plane-failed"):
        found.append(f"{record['node']}: {record['what']}, {record['reason']}")
    return found


def facts_of(capture: Path, records: Sequence[Record] = ()) -> Facts:
    """Facts from a merged capture; raises PcapngError, OSError."""
    with capture.open("rb") as source:
        return gather(trace(pcapng.read(source), until_ns=_observed_until(records)), records)


def _observed_until(records: Sequence[Record]) -> int | None:
    """When the run stopped looking; later frames are the teardown's."""
    times = [r["time"] for r in records if r.get("what") == "observation-ends"]
    return int(float(str(times[0])) * 1e9) if times else None


def read_journals(folder: Path) -> list[Record]:
    """Every line of every journal and log in the folder; a cut last line is left out."""
    records: list[Record] = []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # its writer was killed in the middle of it
            if isinstance(record, dict):
                records.append(record)
    return records
