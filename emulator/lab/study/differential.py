"""Running the comparison with the peers: every cell twice, some runs at a time."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.lab.study.batch import Batch, Job, Progress
from emulator.lab.study.comparison import Cell, Compared, cells, compare


def chosen(*words: str) -> list[Cell]:
    """The cells whose name contains all of the words."""
    return [cell for cell in cells() if all(word in cell.name for word in words)]


def run(
    wanted: Sequence[Cell], batch: Batch, progress: Progress = lambda *_: None
) -> list[Compared]:
    """Run what is not there yet, and compare; raises LabFault."""
    jobs = {}
    for cell in wanted:
        for data_plane in ("bigip", cell.peer):
            key = cell.key(data_plane)
            jobs[key] = Job(key, cell.scenario(data_plane))
    done = batch.run(list(jobs.values()), progress)
    found = []
    for cell in wanted:
        ours, peer = done[cell.key("bigip")], done[cell.key(cell.peer)]
        runs = (str(ours.folder), str(peer.folder))
        found.append(compare(cell, ours.result, peer.result, runs))
    return found
