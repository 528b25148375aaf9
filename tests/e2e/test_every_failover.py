"""Every scenario under every kind of failover: the cause stays the same, the blackout grows."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import How
from tests.e2e.conftest import Finished, run_cli, short

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]
OTHER_HOWS = [
    (name, how.value)
    for name in short()
    for how in How
    if (failover := load(find(name)).failover) is not None and failover.how is not how
]
CAUSES: dict[str, set[str | None]] = {
    "article": {"snat-address-changed"},
    "article-no-mirroring": {"no-flow-reset"},
    "mirror-lag": {"mirror-lag", None},  # of the idle session nothing was lost
    "mirror-channel-cut": {"mirror-channel-down"},
    "onprem-no-mirroring": {"no-flow-reset"},
    "onprem-no-garp": {"route-never-moved"},
}
DETECTION_S = 2.0  # the time-out of 3 s, less a heartbeat that may be due


@pytest.fixture(scope="module")
def all_runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str], Future[Finished]]:
    pool = ThreadPoolExecutor(max_workers=2)
    return {
        (name, how): pool.submit(run_cli, name, tmp_path_factory.mktemp("long"), "--how", how)
        for name, how in OTHER_HOWS
    }


@pytest.mark.parametrize(("name", "how"), OTHER_HOWS)
def test_the_cause_does_not_depend_on_how_the_device_fails(
    name: str, how: str, all_runs: dict[tuple[str, str], Future[Finished]]
) -> None:
    done = all_runs[name, how].result()
    assert done.result["void"] is None
    assert done.status == 0
    assert set(done.causes.values()) == CAUSES.get(name, {None})
    failover = done.result["failover"]
    assert failover["how"] == how
    if how != How.FORCE_STANDBY:
        assert failover["takeover"] - failover["triggered"] >= DETECTION_S
