"""Fixtures for tests of one's own, loaded by pytest wherever mirrorlab is installed.

    def test_ssh_survives_with_a_routed_snat_pool(run_scenario):
        run = run_scenario("article", virtual_server={"snat": "pool"}, sessions=["ssh"])
        assert run.outcomes == {"ssh": "SURVIVED"}

    def test_the_standby_holds_the_flow(lab, failover):
        pair = lab("article-snat-pool")
        with pair.connect(7) as talk:
            talk.sendall(b"hello")
            assert talk.recv(5) == b"hello"
            assert failover(pair) == "bigip-b"
            talk.sendall(b"again")
            assert talk.recv(5) == b"again"

`run_scenario` makes a whole run: captures, verdict, cause. `lab` brings a world up to be used
by hand, and takes it down after the test. `failover` fails its active device over and waits
for the other one. All need root; without it tests that use them are skipped, or fail where
CI=true.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from emulator.lab.instance import Lab
    from emulator.lab.settings.scenario import Scenario

_SETTLE_S = 30.0
_ATTEMPTS = 3


@dataclass(frozen=True)
class Finished:
    """One run. `result`: as in result.json; `folder`: captures, journals, logs."""

    result: dict[str, Any]
    folder: Path

    @property
    def outcomes(self) -> dict[str, str]:
        """By session: SURVIVED, RESET, STALLED, TIMED_OUT or CLOSED."""
        return {c["name"]: c["outcome"] for c in self.result["connections"]}

    @property
    def causes(self) -> dict[str, str | None]:
        """By session: an id of the closed list, None where nothing went wrong."""
        return {c["name"]: c["cause"]["id"] for c in self.result["connections"]}


class RunningLab:
    """A lab that is up. `lab` is the instance itself, for what is not offered here."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @property
    def active(self) -> str:
        """The device that is active; raises LookupError while none is."""
        from emulator.lab.deployment import DEVICES

        for device in DEVICES:
            if self.lab.status(device).get("role") == "active":
                return device
        raise LookupError("no device is active")

    def connect(self, port: int, *, timeout_s: float = 30.0) -> socket.socket:
        """A connection from the client to the virtual server, by the address clients know it by;
        raises OSError."""
        from emulator.lab.deployment import entry_address
        from netns.execute import call_in

        address = (str(entry_address(self.lab.scenario)), port)
        return call_in(
            self.lab.world.namespace("client"),
            lambda: socket.create_connection(address, timeout=timeout_s),
        )

    def run(self, node: str, *command: str) -> str:
        """The output of a command inside a node; raises NamespaceError."""
        from netns.execute import run

        return run(self.lab.world.namespace(node), list(command))

    def tmsh(self, device: str, line: str) -> str:
        """A device's answer; raises ControlError."""
        return self.lab.tmsh(device, line)


@pytest.fixture
def run_scenario(mirrorlab_host: None, tmp_path: Path) -> Callable[..., Finished]:
    """`run_scenario(scenario, **changes)`: a built-in name, a YAML file or a dict of settings,
    with nested changes. A run that this host disturbed is made again; one that stays void
    fails the test."""
    from emulator.lab import runner

    def run(scenario: str | Path | dict[str, Any], **changes: Any) -> Finished:
        chosen = _scenario(scenario, changes)
        for _ in range(_ATTEMPTS):
            made = runner.run_scenario(chosen, tmp_path)
            if made.result["void"] is None:
                return Finished(made.result, made.folder)
        pytest.fail(f"void {_ATTEMPTS} times: {made.result['void']}", pytrace=False)

    return run


@pytest.fixture
def lab(mirrorlab_host: None, tmp_path: Path) -> Iterator[Callable[..., RunningLab]]:
    """`lab(scenario, **changes)`: as `run_scenario`, up until the test is over."""
    from emulator.lab.instance import Lab

    with ExitStack() as stack:

        def up(scenario: str | Path | dict[str, Any] = "article", **changes: Any) -> RunningLab:
            chosen = _scenario(scenario, changes)
            made = Lab(f"p{secrets.token_hex(3)}", chosen, tmp_path / "evidence")
            stack.callback(made.destroy)
            made.create()
            made.start()
            return RunningLab(made)

        yield up


@pytest.fixture
def failover() -> Callable[..., str]:
    """`failover(lab, how="force-standby")`: returns the name of the device that took over."""
    from emulator.lab.faults import trigger
    from emulator.lab.settings.scenario import How
    from emulator.lab.wait import wait_until

    def fail_over(running: RunningLab, how: str = "force-standby") -> str:
        before = running.active
        trigger(running.lab, before, How(how))

        def other() -> str:
            try:
                return running.active if running.active != before else ""
            except LookupError:
                return ""

        return wait_until(f"another device than {before} to be active", other, timeout_s=_SETTLE_S)

    return fail_over


@pytest.fixture(scope="session")
def mirrorlab_host() -> None:
    """Skips where no lab can run, or fails there with CI=true."""
    from netns import doctor

    lacking = [c.name for c in doctor.missing(doctor.examine())] if os.geteuid() == 0 else ["root"]
    if not lacking:
        return
    text = f"a lab needs {', '.join(lacking)}"
    if os.environ.get("CI") == "true":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def _scenario(scenario: str | Path | dict[str, Any], changes: dict[str, Any]) -> Scenario:
    from emulator.lab import scenario_file
    from emulator.lab.settings.scenario import Scenario
    from emulator.lab.study.factors import changed

    if isinstance(scenario, dict):
        base = Scenario.model_validate({"title": "a test's own", **scenario})
    else:
        base = scenario_file.load(scenario_file.find(str(scenario)))
    return changed(base, changes) if changes else base
