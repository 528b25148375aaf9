"""The article's scenarios with a standard virtual server: two TCP connections, one proxy."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.judge.verdict import judge
from tests.e2e.conftest import Finished, run_cli

pytestmark = pytest.mark.e2e
STANDARD = ("--virtual-server", "standard")
SYNC = (*STANDARD, "--commit", "sync")

RUNS: dict[str, tuple[str, tuple[str, ...], str, str | None]] = {
    "article": ("article", SYNC, "RESET", "snat-address-changed"),
    "no mirroring": ("article-no-mirroring", STANDARD, "RESET", "no-flow-reset"),
    "forced standby": ("article-snat-pool", SYNC, "SURVIVED", None),
    "power-off": ("article-snat-pool", (*SYNC, "--how", "power-off"), "SURVIVED", None),
    "no snat": ("article-no-snat", (*SYNC, "--how", "power-off"), "SURVIVED", None),
    "healthy": ("healthy", SYNC, "SURVIVED", None),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Finished]]:
    pool = ThreadPoolExecutor(max_workers=2)
    return {
        name: pool.submit(run_cli, scenario, tmp_path_factory.mktemp("standard"), *options)
        for name, (scenario, options, _, _) in RUNS.items()
    }


@pytest.mark.parametrize("name", RUNS)
def test_outcome_and_cause(name: str, runs: dict[str, Future[Finished]]) -> None:
    """As expected by packets; every byte that arrived right, none lost by a survivor."""
    done = runs[name].result()
    _, _, outcome, cause = RUNS[name]
    assert done.result["void"] is None
    assert set(done.outcomes.values()) == {outcome}
    assert set(done.causes.values()) == {cause}
    for connection in done.result["connections"]:
        count = connection["bytes"]
        assert count["altered"] == count["repeated"] == 0
        assert connection["program"]["wrong_at"] is None
        if outcome == "SURVIVED":
            assert count["missing"] == 0


@pytest.mark.parametrize("name", RUNS)
def test_captures_alone_give_the_same_verdict(name: str, runs: dict[str, Future[Finished]]) -> None:
    """The two connections of a proxy are joined without the device's journal."""
    done = runs[name].result()
    alone = judge(facts_of(done.folder / "run.pcapng"))
    assert {v.name: (v.outcome, v.cause.id) for v in alone} == {
        c["name"]: (c["outcome"], c["cause"]["id"]) for c in done.result["connections"]
    }
