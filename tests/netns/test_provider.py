"""The fabric's process without a kernel: requests over its socket, its log, its pace."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from netns.cloud import server
from netns.cloud.effects import Effects
from netns.cloud.fabric import ApiError, Change, Fabric
from netns.cloud.line import Line
from netns.cloud.server import Provider, serve
from netns.topology import cloud

DEADLINE_S = 30.0


class Recorder:
    """Stands for the router."""

    def __init__(self) -> None:
        self.applied: list[Change] = []

    def apply(self, change: Change) -> None:
        self.applied.append(change)


class Running:
    def __init__(self, folder: Path) -> None:
        self.effects, self.log = Recorder(), folder / "fabric.jsonl"
        fabric = Fabric(cloud("x"), propagation_delay_s=0.2)
        self.provider = Provider(fabric, cast(Effects, self.effects), self.log)
        self._server = serve(self.provider, folder / "fabric.sock")
        self.line = Line(folder / "fabric.sock")
        self._thread = threading.Thread(target=self.provider.run)
        self._thread.start()

    def records(self, what: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["what"] == what]

    def stop(self) -> None:
        self.provider.stop()
        self._thread.join()
        self.line.close()
        self._server.shutdown()
        self._server.server_close()
        self.provider.close()


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(server, "counters", dict)
    made = Running(tmp_path)
    yield made
    made.stop()


def until(condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def replace(target: str, destination: str = "10.99.0.0/24") -> dict[str, object]:
    return {"request": "replace_route", "arguments": ["rtb-client", destination, target]}


def test_a_request_is_accepted_in_the_log_and_carried_out_later(running: Running) -> None:
    running.line.ask(replace("eni-bigip-b-ext"))
    [accepted] = running.records("accepted")
    until(lambda: running.effects.applied)
    [effective] = running.records("effective")
    assert effective["time"] - accepted["time"] >= 0.2 - 0.001
    assert accepted["effective_in_s"] == pytest.approx(0.2)
    assert accepted["target"] == effective["target"] == "eni-bigip-b-ext"


def test_what_the_fabric_refuses_reaches_the_api_as_an_error(running: Running) -> None:
    with pytest.raises(ApiError, match=r"InvalidNetworkInterfaceID\.NotFound"):
        running.line.ask(replace("eni-nosuch"))
    with pytest.raises(ApiError, match="InternalError"):
        running.line.ask({"request": "next_timer", "arguments": []})
    assert running.records("accepted") == []


def test_several_hundred_changes_in_the_order_they_were_accepted(running: Running) -> None:
    for number in range(400):
        running.line.ask(replace(f"eni-bigip-{'ab'[number % 2]}-ext"))
    until(lambda: len(running.effects.applied) == 400)
    targets = [change.details()["target"] for change in running.effects.applied]
    assert targets == [f"eni-bigip-{'ab'[n % 2]}-ext" for n in range(400)]
    assert len(running.records("effective")) == 400


def test_refusals_are_counted_in_the_log_not_listed(running: Running) -> None:
    for _ in range(30):
        running.line.ask({"refused": "ReplaceRoute", "code": "RequestLimitExceeded"})
    until(lambda: sum(r["calls"] for r in running.records("api-refused")) == 30)
    assert len(running.records("api-refused")) < 30


def test_a_change_that_is_pending_is_no_other_requests_wait(running: Running) -> None:
    """The lock is not held while the router is worked on."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(change: Change) -> None:
        entered.set()
        go_on.wait(DEADLINE_S)

    running.effects.apply = slow  # type: ignore[method-assign]
    running.line.ask(replace("eni-bigip-b-ext"))
    assert entered.wait(DEADLINE_S)
    running.line.ask(replace("eni-bigip-a-ext"))  # answered although the router is busy
    go_on.set()
