"""Root tests skip with a reason where they cannot run, and fail instead when CI is set:
a green run that skipped the point of the project would be worse than a red one."""

from __future__ import annotations

import os

import pytest

from netns import doctor


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the tests marked long")


@pytest.hookimpl(tryfirst=True)  # before the workers read the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    _spread(items)


def _spread(items: list[pytest.Item]) -> None:
    """For workers side by side: a file is one worker's, and so are all who share the scenarios'
    runs; what waits longest comes first."""
    shared = {i.path for i in items if "scenario_runs" in getattr(i, "fixturenames", ())}
    for item in items:
        name = "scenarios" if item.path in shared else str(item.path)
        item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=lambda i: (i.path not in shared, i.get_closest_marker("e2e") is None))


@pytest.fixture(scope="session")
def lacking() -> str:
    """What this host lacks, or nothing."""
    return "; ".join(f"{c.name}: {c.remedy}" for c in doctor.missing(doctor.examine()))


@pytest.fixture(autouse=True)
def _capable(request: pytest.FixtureRequest) -> None:
    needs = request.node.get_closest_marker("root") or request.node.get_closest_marker("e2e")
    if needs and (lack := request.getfixturevalue("lacking")):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"this host lacks {lack}")
