"""OpenSSH's scripts by the campaign: when the next device may fail, and what each list says."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.lab.campaign import openssh
from emulator.lab.campaign.openssh import Pair
from emulator.lab.campaign.opensshlist import ONE_HOST, SCRIPTS, SKIPPED


def flow(port: int, state: str = "open") -> dict[str, object]:
    return {"client": f"10.0.1.10:{port}", "virtual": "10.99.0.10:4242", "state": state}


@pytest.mark.parametrize(
    ("active", "standby", "given"),
    [
        ([], [], True),
        ([flow(1), flow(2)], [flow(2), flow(1)], True),
        ([flow(1)], [], False),  # its resynchronisation waits for bytes beyond a gap
        ([flow(1), flow(2)], [flow(1)], False),
        ([flow(1, "closing")], [], True),
        ([], [flow(1)], True),  # what is gone there need not be gone here yet
    ],
)
def test_a_device_fails_only_once_the_other_one_has_every_open_connection(
    active: list[dict[str, object]], standby: list[dict[str, object]], given: bool,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    tables = {"bigip-a": active, "bigip-b": standby}
    monkeypatch.setattr(openssh, "flows", lambda _, node: tables[node])
    assert Pair("standard", tmp_path)._given("bigip-a", "bigip-b") is given


def test_a_script_is_run_or_has_a_reason_not_to_be() -> None:
    assert len(set(SCRIPTS)) == len(SCRIPTS)
    assert not set(SCRIPTS) & set(SKIPPED)
    assert {*SCRIPTS, *SKIPPED} >= ONE_HOST
    assert all(SKIPPED.values())
