"""Every scenario under every kind of failover: the cause stays the same, the blackout grows."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from emulator.lab.scenario import How
from emulator.lab.scenario_file import find, load
from tests.e2e.conftest import Finished, run_cli, short

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]
HOWS = [how.value for how in How if how is not How.FORCE_STANDBY]
FAILING = [name for name in short() if load(find(name)).failover is not None]
CAUSES = {"article": "snat-address-changed", "article-no-mirroring": "no-flow-reset"}
DETECTION_S = 2.0  # the time-out of 3 s, less a heartbeat that may be due


@pytest.fixture(scope="module")
def all_runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str], Future[Finished]]:
    pool = ThreadPoolExecutor(max_workers=2)
    return {
        (name, how): pool.submit(run_cli, name, tmp_path_factory.mktemp("long"), "--how", how)
        for name in FAILING
        for how in HOWS
    }


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", FAILING)
def test_the_cause_does_not_depend_on_how_the_device_fails(
    name: str, how: str, all_runs: dict[tuple[str, str], Future[Finished]]
) -> None:
    done = all_runs[name, how].result()
    assert done.result["void"] is None
    assert done.status == 0
    assert set(done.causes.values()) == {CAUSES.get(name)}
    failover = done.result["failover"]
    assert failover["how"] == how
    assert failover["takeover"] - failover["triggered"] >= DETECTION_S
