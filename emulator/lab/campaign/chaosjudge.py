"""A round of the chaos campaign by packets: recorded, and judged as a run is."""

from __future__ import annotations

import time
from pathlib import Path

from emulator.lab.analysis import MAX_LATE_S, facts_of, read_journals
from emulator.lab.campaign.killtraffic import Loss
from emulator.lab.campaign.skew import SkewedLab
from emulator.lab.capture import Capture, merge
from emulator.lab.deployment import DEVICES
from emulator.lab.judge.evidence import CAPTURE
from emulator.lab.judge.facts import Record
from emulator.lab.judge.verdict import judge_connection
from emulator.lab.workload.applications import PORTS
from emulator.wire.pcapng import PcapngError

_PORT = {"ssh": PORTS["ssh"]}  # whose own port is not known: there is one connection to it


class Recorder:
    """The captures of one round, in its folder."""

    def __init__(self, lab: SkewedLab, folder: Path) -> None:
        self._lab, self._folder = lab, folder
        self._capture = Capture(lab.world, lab.folder, folder)
        self._began = 0.0
        self._places: dict[str, int] = {}

    def start(self) -> None:
        """Raises LabFault."""
        self._began = time.time()
        for node in DEVICES:
            path = self._lab.evidence / f"{node}.jsonl"
            self._places[node] = path.stat().st_size if path.exists() else 0
        self._capture.start()

    def stop(self) -> str:
        """End the captures; why the round is void, or nothing."""
        losses = self._capture.stop()
        late = [
            f"{record['node']} was {record['seconds']} s late"
            for record in self._records()
            if record["what"] == "late" and float(str(record["seconds"])) > MAX_LATE_S
        ]
        return next(iter([*losses, *late]), "")

    def _records(self) -> list[Record]:
        """The devices' journals of this round, on the host's clock."""
        return [
            record
            for node, place in self._places.items()
            for record in self._lab.read_journal(node, place)
        ]

    def judge(self, losses: list[Loss]) -> dict[Loss, tuple[str, str, str]]:
        """Outcome, cause and its sentence of each, as its own end saw it: nothing counts that was
        captured after that end gave up."""
        files = sorted(self._folder.glob("*.pcapng"))
        if not losses or not files:
            return {}
        records = [*self._records()]
        for record in [*read_journals(self._lab.evidence), *read_journals(self._folder)]:
            of_device = record.get("node") in DEVICES
            if not of_device and float(str(record.get("time", 0))) >= self._began:
                records.append(record)
        try:
            merge(files, self._folder / CAPTURE)
            return {loss: self._verdict(loss, records) for loss in losses}
        except (PcapngError, OSError) as error:
            return dict.fromkeys(losses, ("not read", "-", str(error)))

    def forget(self) -> None:
        """The round's captures are not needed any more."""
        for path in self._folder.glob("*.pcapng"):
            path.unlink()

    def _verdict(self, loss: Loss, records: list[Record]) -> tuple[str, str, str]:
        end: Record = {"time": loss.at, "node": "lab", "what": "observation-ends"}
        facts = facts_of(self._folder / CAPTURE, [*records, end])
        for connection in facts.connections:
            remote, port = connection.client.remote.port, connection.client.local.port
            if (loss.port and port == loss.port) or remote == _PORT.get(loss.kind):
                verdict = judge_connection(connection, facts)
                return verdict.outcome, verdict.cause.id or "-", verdict.cause.text
        return "not in the capture", "-", ""
