"""A run's folder to its verdict: merge the captures, read the journals, judge, write down.

Can be repeated on any run's folder: nothing but its files is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from emulator.lab.capture import merge
from emulator.lab.explain import CAPTURE
from emulator.lab.facts import Facts, Record, gather
from emulator.lab.result import Disturbance, MirrorState, Result, result
from emulator.lab.scenario import Scenario
from emulator.lab.tracing import trace
from emulator.lab.verdict import judge
from emulator.wire import pcapng
from netns.topology import cloud


def analyse(
    folder: Path, scenario: Scenario, disturbance: Disturbance, mirror: MirrorState
) -> Result:
    """Merge, judge, write result.json; returns it."""
    files = [p for n in cloud("x").nodes if (p := folder / f"{n}.pcapng").exists()]
    merge(files, folder / CAPTURE, comment=f"mirrorlab run of scenario {scenario.name}")
    facts = facts_of(folder / CAPTURE, read_journals(folder))
    reasons = list(disturbance.reasons)
    if facts.cut_frames:
        reasons.append(f"{facts.cut_frames} frames were cut or malformed")
    for connection in facts.connections:
        if connection.to_client.gap or connection.to_server.gap:
            reasons.append(f"the capture misses bytes of {connection.name}")
    missing = set(scenario.sessions) - {c.name for c in facts.connections}
    if missing:
        reasons.append(f"the capture has no beginning of {', '.join(sorted(missing))}")
    cut = facts.records_of("malformed")
    if cut:
        reasons.append(f"{cut[0]['node']} could not read a packet: {cut[0]['reason']}")
    late = [r for r in facts.records_of("late") if float(str(r["seconds"])) > 1.0]
    if late:
        reasons.append(f"{late[0]['node']} was {late[0]['seconds']} s late")
    final = Disturbance(
        tuple(reasons), disturbance.queue_drops, disturbance.scheduling_lag_ms, disturbance.kernel
    )
    found = result(scenario, facts, judge(facts), final, mirror)
    (folder / "result.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


def facts_of(capture: Path, records: Sequence[Record] = ()) -> Facts:
    """Facts from a merged capture; raises PcapngError, OSError."""
    with capture.open("rb") as source:
        return gather(trace(pcapng.read(source)), records)


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
