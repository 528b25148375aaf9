"""Errors of the API that begin and end while it runs."""

from __future__ import annotations

import json
from pathlib import Path

from netns.cloud.faultfile import FaultFile
from netns.cloud.front import Fault

ROW = {"action": "*", "code": "InternalError", "status": 500, "rate": 1.0}


def test_faults_are_those_of_the_moment(tmp_path: Path) -> None:
    path = tmp_path / "api-faults.json"
    always = Fault("PutObject", "SlowDown", 503, 0.5, 0, None)
    faults = FaultFile(path, [always])
    assert list(faults) == [always]
    path.write_text(json.dumps([ROW]))
    assert [fault.code for fault in faults] == ["SlowDown", "InternalError"]
    assert all(fault.hits("bigip-a", "ReplaceRoute") for fault in list(faults)[1:])
    path.write_text("[")  # being written
    assert list(faults) == [always]
    path.unlink()
    assert list(faults) == [always]
