"""Root tests skip with a reason where they cannot run, and fail instead when CI is set:
a green run that skipped the point of the project would be worse than a red one."""

from __future__ import annotations

import os

import pytest

from netns import doctor

# Their tests look at the runs of `scenario_runs`, which are made once.
SHARING = {
    f"tests/e2e/test_{name}.py"
    for name in ("onprem", "report", "scenarios", "wireshark", "workloads")
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the tests marked long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    _spread(items)


def file_of(nodeid: str) -> str:
    """Below the project's folder."""
    return nodeid.split("::", 1)[0]


def _spread(items: list[pytest.Item]) -> None:
    """For workers side by side: what waits longest comes first."""
    sharing = {
        file_of(i.nodeid) for i in items if "scenario_runs" in getattr(i, "fixturenames", ())
    }
    if astray := sharing - SHARING:
        raise pytest.UsageError(f"{', '.join(astray)}: belongs into tests/conftest.py, SHARING")
    items.sort(
        key=lambda i: (file_of(i.nodeid) not in SHARING, i.get_closest_marker("e2e") is None)
    )


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """A file is one worker's, and so are all that share the built-in scenarios' runs."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = file_of(nodeid)
            return "scenarios" if path in SHARING else path

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def lacking() -> str:
    """What this host lacks, or nothing."""
    return "; ".join(f"{c.name}: {c.remedy}" for c in doctor.missing(doctor.examine()))


@pytest.fixture(autouse=True)
def _capable(request: pytest.FixtureRequest) -> None:
    needs = request.node.get_closest_marker("root") or request.node.get_closest_marker("e2e")
    if needs and (lack := request.getfixturevalue("lacking")):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"this host lacks {lack}")
