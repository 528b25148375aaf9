"""The comparison with the peers: its cells, and what counts as agreement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emulator.lab.study.batch import Batch, Done, Job, Progress
from emulator.lab.study.comparison import (
    KEPT,
    Cell,
    Compared,
    agreement,
    as_data,
    cells,
    compare,
    count,
)
from emulator.lab.study.differential import chosen, run
from emulator.lab.study.differentialpage import page
from emulator.lab.study.explanations import EXPLANATIONS, Difference, Explanation

CELL = Cell("cloud", "fastL4", "pool", "mirrored", "power-off")
LIVES = ("SURVIVED", None)
DIES = ("RESET", "no-flow-reset")
Ends = tuple[str, str | None]


def result(**sessions: Ends) -> dict[str, Any]:
    connections = [
        {"name": name, "outcome": outcome, "cause": {"id": cause}}
        for name, (outcome, cause) in sessions.items()
    ]
    return {"connections": connections}


# The cells.


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: cell.name)
def test_a_cell_differs_in_nothing_but_the_data_plane(cell: Cell) -> None:
    ours, peer = (cell.scenario(p).model_dump(mode="json") for p in ("bigip", cell.peer))
    assert (ours["devices"].pop("data_plane"), peer["devices"].pop("data_plane")) == (
        "bigip", cell.peer,
    )  # fmt: skip
    ours.pop("name"), peer.pop("name")
    if cell.state == KEPT:  # a setting of ours that no peer has
        assert ours["devices"].pop("rebuild_automap") is False
        assert peer["devices"].pop("rebuild_automap") is True
    assert ours == peer
    assert not ours["expect"]


def test_the_cells_cover_the_table() -> None:
    cloud = [c for c in cells() if c.world == "cloud" and c.state != KEPT]
    fast = {(c.snat, c.state, c.how) for c in cloud if c.server == "fastL4"}
    assert len(fast) == 3 * 3 * 2
    assert len({(c.snat, c.how) for c in cloud if c.server == "standard"}) == 3 * 2
    assert {c.world for c in cells()} == {"cloud", "onprem"}
    assert len({c.name for c in cells()}) == len(cells())


def test_a_setting_of_ours_alone_does_not_run_the_peer_again() -> None:
    kept = Cell("cloud", "fastL4", "automap", KEPT, "power-off")
    plain = Cell("cloud", "fastL4", "automap", "mirrored", "power-off")
    assert kept.key("conntrackd") == plain.key("conntrackd")
    assert kept.key("bigip") != plain.key("bigip")
    one, other = (c.scenario("conntrackd").model_dump(exclude={"name"}) for c in (kept, plain))
    assert one == other


def test_words_choose_cells() -> None:
    assert chosen("standard", "pool", "cloud") == [
        Cell("cloud", "standard", "pool", "not mirrored", how)
        for how in ("force-standby", "power-off")
    ]
    assert chosen("nothing of the kind") == []


# Agreement.


def test_the_same_outcome_of_the_same_cause_agrees() -> None:
    found = compare(CELL, result(ssh=DIES, feed=LIVES), result(feed=LIVES, ssh=DIES))
    assert found.agrees
    assert agreement(found) == "yes"
    assert count([found])["sessions_agreeing"] == 2


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        (("RESET", "old-active-answered"), "no, cause only (unexplained)"),
        (("STALLED", "no-flow-reset"), "no, outcome (unexplained)"),
        (LIVES, "no, outcome (unexplained)"),
    ],
)
def test_anything_else_is_a_difference(peer: Ends, words: str) -> None:
    found = compare(CELL, result(ssh=DIES), result(ssh=peer), known=())
    assert not found.agrees
    assert agreement(found) == words
    assert count([found])["unexplained"] == 1


def test_a_session_that_one_side_lacks_is_a_difference() -> None:
    found = compare(CELL, result(ssh=LIVES, echo=LIVES), result(ssh=LIVES), known=())
    assert [p.session for p in found.unexplained] == ["echo"]


def known(session: str) -> Explanation:
    return Explanation("a", "why", "Packets.", lambda d: d.session == session)


def test_an_explanation_makes_no_agreement_and_covers_no_other_session() -> None:
    ours, peer = result(ssh=LIVES, echo=LIVES), result(ssh=DIES, echo=DIES)
    found = compare(CELL, ours, peer, known=[known("ssh")])
    assert not found.agrees
    assert [p.session for p in found.unexplained] == ["echo"]
    assert agreement(found) == "no, outcome (a, unexplained)"
    assert count([found])["cells_with_the_same_outcomes"] == 0


def test_no_explanation_fits_what_nobody_has_looked_at() -> None:
    """Whatever ours does, a peer that loses a session ours keeps is looked at."""
    odd = Difference("fastL4", "pool", "mirrored", "power-off", "ssh", LIVES, DIES)
    assert [e.id for e in EXPLANATIONS if e.fits(odd)] == []


def test_explanations_have_names_of_their_own() -> None:
    assert len({e.id for e in EXPLANATIONS}) == len(EXPLANATIONS)


# The run and its page.


class Told(Batch):
    """Results instead of runs."""

    def __init__(self, results: dict[str, Any]) -> None:
        super().__init__(Path())
        self.results, self.made = results, list[str]()

    def run(self, jobs: Any, progress: Progress = lambda *_: None) -> dict[str, Done]:
        self.made += [job.key for job in jobs]
        return {
            j.key: Done(j, self.results[j.scenario.devices.data_plane], Path(j.key)) for j in jobs
        }


def ran(ours: dict[str, Any], peer: dict[str, Any], *cells_: Cell) -> list[Compared]:
    return run(cells_, Told({"bigip": ours, "conntrackd": peer}))


def test_both_data_planes_are_run_and_compared() -> None:
    batch = Told({"bigip": result(ssh=LIVES), "conntrackd": result(ssh=DIES)})
    [found] = run([CELL], batch)
    assert batch.made == [CELL.key("bigip"), CELL.key("conntrackd")]
    [pair] = found.pairs
    assert (str(pair.ours), str(pair.peer)) == ("SURVIVED", "RESET no-flow-reset")
    assert found.runs == (CELL.key("bigip"), CELL.key("conntrackd"))


def test_a_peers_run_serves_two_cells() -> None:
    both = [Cell("cloud", "fastL4", "automap", s, "power-off") for s in ("mirrored", KEPT)]
    batch = Told({"bigip": result(ssh=LIVES), "conntrackd": result(ssh=LIVES)})
    assert len(run(both, batch)) == 2
    assert len(batch.made) == 3


def test_the_page_has_every_cell_and_says_what_is_not_explained() -> None:
    found = ran(result(ssh=DIES, feed=LIVES), result(ssh=DIES, feed=("STALLED", None)), CELL)
    text = page(found, "Versions")
    assert "| cloud | fastL4 | pool | mirrored | power-off |" in text
    assert "ssh: RESET no-flow-reset; feed: SURVIVED |" in text
    assert "- differences without an explanation: 1" in text
    assert "### Not explained" in text
    assert "power-off: SURVIVED / STALLED: feed" in text


def test_the_packets_of_a_difference_are_shown_and_make_none() -> None:
    ours = result(feed=("STALLED", "no-flow-dropped"))
    peer = result(feed=("RESET", "no-flow-reset"))
    peer["failover"] = {"triggered": 100.0}
    peer["connections"][0]["cause"]["evidence"] = [{"time": 103.5, "text": "a reset"}]
    unmirrored = Cell("cloud", "fastL4", "pool", "not mirrored", "power-off")
    found = ran(ours, peer, unmirrored)
    assert found[0].unexplained == []
    assert "    +3.500 s  a reset\n" in page(found, "Versions")
    assert ran(peer, peer | {"failover": None}, unmirrored)[0].agrees


def test_the_page_of_full_agreement_names_no_difference() -> None:
    text = page(ran(result(ssh=DIES), result(ssh=DIES), CELL), "Versions")
    assert "outcomes agree in 1, outcomes and causes in 1" in text
    assert "\nNone.\n" in text


def test_the_data_is_whole() -> None:
    data = as_data(ran(result(ssh=DIES), result(ssh=LIVES), CELL))
    [cell] = data["cells"]
    assert cell["peer"] == "conntrackd"
    assert cell["sessions"]["ssh"]["ours"] == {"outcome": "RESET", "cause": "no-flow-reset"}
    assert data["count"]["sessions_with_another_outcome"] == 1


def test_a_job_is_named_for_its_cell_and_its_data_plane() -> None:
    job = Job(CELL.key("bigip"), CELL.scenario("bigip"))
    assert job.key == "cloud_fastL4_pool_mirrored_power-off_bigip"
