"""A round of the kill test by packets: recorded, and judged as a run is."""

from __future__ import annotations

import time
from pathlib import Path

from emulator.lab.analysis import facts_of, read_journals
from emulator.lab.campaign.killtraffic import Loss
from emulator.lab.capture import Capture, merge
from emulator.lab.instance import Lab
from emulator.lab.judge.evidence import CAPTURE
from emulator.lab.judge.facts import Record
from emulator.lab.judge.verdict import judge_connection
from emulator.lab.workload.applications import PORTS

NOT_SEEN = "no connection in the capture"


class Recorder:
    """The captures of one round; they are gone once it is judged."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._journals, self._folder = lab.evidence, folder
        self._capture = Capture(lab.world, lab.folder, folder)
        self._began = 0.0

    def start(self) -> None:
        """Raises LabFault."""
        self._began = time.time()
        self._capture.start()

    def stop(self) -> None:
        """Ends the captures; they stay in the round's folder until `judge`."""
        self._losses = self._capture.stop()

    def judge(self, losses: list[Loss]) -> dict[Loss, str]:
        """Each lost conversation's outcome and cause, as its own end saw it: nothing counts
        that was captured after that end gave up. A round whose captures lost packets has no
        verdicts."""
        files = sorted(self._folder.glob("*.pcapng"))
        try:
            if self._losses:
                return dict.fromkeys(losses, f"void: {self._losses[0]}")
            if not losses:
                return {}
            merge(files, self._folder / CAPTURE)
            records = [
                record
                for record in [*read_journals(self._journals), *read_journals(self._folder)]
                if float(str(record.get("time", 0))) >= self._began
            ]
            return {loss: self._verdict(loss, records) for loss in losses}
        finally:
            for path in self._folder.glob("*.pcapng"):
                path.unlink()

    def _verdict(self, loss: Loss, records: list[Record]) -> str:
        end: Record = {"time": loss.at, "node": "lab", "what": "observation-ends"}
        facts = facts_of(self._folder / CAPTURE, [*records, end])
        for connection in facts.connections:
            remote, port = connection.client.remote.port, connection.client.local.port
            if port == loss.port or (not loss.port and remote == PORTS.get(loss.kind)):
                verdict = judge_connection(connection, facts)
                return f"{verdict.outcome} {verdict.cause.id or '-'}"
        return NOT_SEEN
