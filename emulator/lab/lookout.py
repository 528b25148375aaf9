"""Asking a running lab's devices what `readiness` wants to know. Changes nothing."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from emulator.device.control import ControlError, ask
from emulator.lab.channelprobe import probe
from emulator.lab.deployment import DEVICES
from emulator.lab.instance import Lab
from emulator.lab.readiness import Seen, roles
from netns.execute import NamespaceError

DRY_RUN_S = 15.0  # the extension gives one call ten seconds


def look(lab: Lab, *, cloud: bool = True) -> Seen:
    """Both devices' accounts now; with `cloud` the standby's failover extension is asked, too."""
    status = {node: lab.status(node) for node in DEVICES}
    active, standby = roles(status)
    if not (active and standby):
        return Seen(status)
    if cloud and status[standby].get("cloud_failover") != "none":
        _ask(lab, standby, {"dry_run": True})
    before = flows(lab, active)
    arrives = {}
    with contextlib.suppress(NamespaceError, OSError):
        arrives = probe(lab)
    held = flows(lab, standby)
    after = flows(lab, active)
    status = {node: lab.status(node) for node in DEVICES}
    return Seen(status, before, held, after, arrives, _dry_run(lab, standby) if cloud else {})


def flows(lab: Lab, node: str) -> list[dict[str, Any]]:
    """A device's connection table as `device.account` tells it; empty when it does not answer."""
    found = _ask(lab, node, {"flows": True}).get("flows", [])
    return found if isinstance(found, list) else []


def _ask(lab: Lab, node: str, request: dict[str, object]) -> dict[str, object]:
    try:
        return ask(lab.socket(node), request)
    except ControlError:
        return {}


def _dry_run(lab: Lab, standby: str) -> dict[str, object]:
    deadline = time.monotonic() + DRY_RUN_S
    while True:
        found = lab.status(standby).get("dry_run", {})
        assert isinstance(found, dict)
        if found.get("state") != "running" or time.monotonic() > deadline:
            return found
        time.sleep(0.05)
