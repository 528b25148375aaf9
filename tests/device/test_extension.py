"""The failover extension's task against a cloud that answers from a script."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from emulator.core.cloudfailover import Call, Own
from emulator.core.declaration import read
from emulator.device import extension
from emulator.device.aws import _snake
from emulator.device.extension import Rehearsal, Task

TAGS = {"label": "mine"}
OWN = Own("bigip-b", "i-b", ("10.0.20.11",), ())
DECLARATION = read(
    {
        "class": "Cloud_Failover",
        "environment": "aws",
        "externalStorage": {"scopingName": "bucket"},
        "failoverAddresses": {"scopingTags": TAGS},
        "failoverRoutes": {
            "routeGroupDefinitions": [
                {
                    "scopingName": "rtb-1",
                    "scopingAddressRanges": [{"range": "10.99.0.0/24"}],
                    "defaultNextHopAddresses": {
                        "discoveryType": "static",
                        "items": ["10.0.10.11", "10.0.20.11"],
                    },
                }
            ]
        },
    }
)


class Cloud:
    """Answers calls, remembers them and the state object. `fails`: action -> errors to come."""

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.states: list[dict[str, Any]] = []
        self.state: dict[str, Any] | None = None
        self.fails: dict[str, list[str]] = {}
        self.on: Callable[[Call], None] = lambda call: None
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> tuple[Any, str]:
        with self._lock:
            self.on(call)
            self.actions.append(call.action)
            if self.fails.get(call.action):
                return None, self.fails[call.action].pop(0)
            return self._answer(call), ""

    def _answer(self, call: Call) -> Any:
        match call.action:
            case "ListObjectsV2":
                return {"Contents": [{"Key": call.parameters["Prefix"]}]} if self.state else {}
            case "GetObject":
                return {"Body": io.BytesIO(json.dumps(self.state).encode())}
            case "PutObject":
                self.state = json.loads(call.parameters["Body"])
                self.states.append(dict(self.state or {}))
            case "DescribeRouteTables":
                route = {
                    "DestinationCidrBlock": "10.99.0.0/24", "NetworkInterfaceId": "eni-a",
                }  # fmt: skip
                return {"RouteTables": [{"RouteTableId": "rtb-1", "Routes": [route]}]}
            case "DescribeNetworkInterfaces":
                row = {
                    "NetworkInterfaceId": "eni-b", "SubnetId": "subnet-b",
                    "PrivateIpAddress": "10.0.20.11",
                    "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.20.11", "Primary": True}],
                }  # fmt: skip
                return {"NetworkInterfaces": [row]}
            case "DescribeSubnets":
                return {"Subnets": []}
            case "DescribeAddresses":
                return {"Addresses": []}
        return {}


class Story(list[dict[str, Any]]):
    def tell(self, line: Mapping[str, object]) -> None:
        self.append(dict(line))

    def notes(self, what: str) -> list[Any]:
        return [line["details"] for line in self if line.get("note") == what]


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def story() -> Story:
    return Story()


def task(cloud: Cloud, story: Story) -> Task:
    return Task(DECLARATION, OWN, cloud, 0.0, story.tell)


def test_the_published_order(cloud: Cloud, story: Story) -> None:
    task(cloud, story).run()
    looked_up = {"DescribeAddresses", "DescribeSubnets", "DescribeRouteTables"}
    assert cloud.actions[:3] == ["HeadBucket", "ListObjectsV2", "PutObject"]
    assert set(cloud.actions[3:8]) == looked_up | {"DescribeNetworkInterfaces"}
    assert cloud.actions[8:] == [
        "DescribeNetworkInterfaces", "PutObject", "ReplaceRoute", "PutObject",
    ]  # fmt: skip
    assert [s["taskState"] for s in cloud.states] == ["RUNNING", "RUNNING", "SUCCEEDED"]
    assert cloud.states[-1]["message"] == "Failover Complete"
    first, second, _ = cloud.states
    assert first["failoverOperations"]["routes"]["operations"] == []
    [operation] = second["failoverOperations"]["routes"]["operations"]
    assert operation["interface"] == "eni-b"
    assert story.notes("route-requested") == [{"table": "rtb-1", "destination": "10.99.0.0/24"}]
    assert {"route": ["rtb-1", "10.99.0.0/24", "", True]} in story
    assert story.notes("failover-complete") == [{"routes": 1, "addresses": 0, "unchanged": 0}]


def test_a_refused_call_is_made_again_and_every_refusal_is_told(cloud: Cloud, story: Story) -> None:
    cloud.fails = {"ReplaceRoute": ["RequestLimitExceeded: x"] * 2, "HeadBucket": ["AuthFailure"]}
    task(cloud, story).run()
    assert [line["route"][2] for line in story if "route" in line] == [
        "RequestLimitExceeded: x", "RequestLimitExceeded: x", "",
    ]  # fmt: skip
    assert story.notes("cloud-call-failed") == [
        {"call": "HeadBucket", "error": "AuthFailure", "attempt": 1}
    ]
    assert cloud.states[-1]["taskState"] == "SUCCEEDED"


def test_after_fifty_attempts_it_is_given_up(cloud: Cloud, story: Story) -> None:
    cloud.fails = {"ReplaceRoute": ["UnauthorizedOperation: no"] * 99}
    task(cloud, story).run()
    assert cloud.actions.count("ReplaceRoute") == 50
    assert cloud.states[-1]["taskState"] == "FAILED"
    assert cloud.states[-1]["message"].startswith("Failover failed because ReplaceRoute: Unauth")
    [told] = story.notes("failover-failed")
    assert "given up after 50 attempts" in told["reason"]


def test_a_device_that_stands_by_asks_no_more(cloud: Cloud, story: Story) -> None:
    cloud.fails = {"ReplaceRoute": ["RequestLimitExceeded: x"] * 99}
    made = task(cloud, story)

    def stand_by_at_the_third(call: Call) -> None:
        if call.action == "ReplaceRoute" and cloud.actions.count("ReplaceRoute") == 2:
            made.cancel()

    cloud.on = stand_by_at_the_third
    made.run()
    assert cloud.actions.count("ReplaceRoute") == 3
    assert story.notes("failover-cancelled") == [{}]
    assert cloud.states[-1]["taskState"] != "RUNNING"  # the peer would wait for that one
    assert cloud.states[-1]["message"] == "Failover state file was reset"


def test_another_devices_task_is_waited_for(
    cloud: Cloud, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension, "WAIT_S", 0.0)
    cloud.state = {"taskState": "RUNNING", "instance": "bigip-a"}

    def ends_at_the_fourth_look(call: Call) -> None:
        if call.action == "GetObject" and cloud.actions.count("GetObject") == 3:
            cloud.state = {"taskState": "SUCCEEDED", "instance": "bigip-a"}

    cloud.on = ends_at_the_fourth_look
    task(cloud, story).run()
    assert cloud.actions.count("GetObject") == 4
    assert story.notes("failover-waiting") == [{"other": "bigip-a"}]
    assert cloud.states[-1]["taskState"] == "SUCCEEDED"


def test_a_task_that_never_ends_is_waited_for_four_hundred_times(
    cloud: Cloud, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its age is never looked at: the comparison the extension makes is with a name that the
    state does not have."""
    monkeypatch.setattr(extension, "WAIT_S", 0.0)
    cloud.state = {"taskState": "RUNNING", "instance": "bigip-a", "timestamp": "2001-01-01"}
    task(cloud, story).run()
    assert cloud.actions.count("GetObject") == 400
    assert cloud.states[-1]["taskState"] == "SUCCEEDED"


def test_nothing_of_its_own_is_looked_up_in_a_recovery(cloud: Cloud, story: Story) -> None:
    task(cloud, story).run()
    assert cloud.state is not None
    cloud.state["taskState"] = "FAILED"
    cloud.actions.clear()
    task(cloud, story).run()
    assert not [action for action in cloud.actions if action.startswith("Describe")]
    assert cloud.actions.count("ReplaceRoute") == 1
    assert story.notes("failover-recovery") == [{}]


def test_a_state_object_that_is_not_json_is_no_traceback(cloud: Cloud, story: Story) -> None:
    cloud.state = {}

    def spoil(call: Call) -> None:
        if call.action == "ListObjectsV2":
            cloud.state = {"x": 1}

    cloud.on = spoil
    cloud._answer = lambda call: (  # type: ignore[method-assign]
        {"Body": io.BytesIO(b"<html>")}
        if call.action == "GetObject"
        else Cloud._answer(cloud, call)
    )
    task(cloud, story).run()
    [told] = story.notes("failover-failed")
    assert told["reason"].startswith("the state object is not JSON")


def test_an_answer_of_another_form_is_no_traceback(cloud: Cloud, story: Story) -> None:
    cloud._answer = lambda call: (  # type: ignore[method-assign]
        {"RouteTables": [{}]}
        if call.action == "DescribeRouteTables"
        else Cloud._answer(cloud, call)
    )
    task(cloud, story).run()
    [told] = story.notes("failover-failed")
    assert told["reason"].startswith("KeyError")
    assert cloud.states[-1]["taskState"] == "FAILED"


@pytest.mark.parametrize(
    ("action", "method"),
    [
        ("ReplaceRoute", "replace_route"),
        ("ListObjectsV2", "list_objects_v2"),
        ("AssignPrivateIpAddresses", "assign_private_ip_addresses"),
    ],
)
def test_actions_by_boto3s_names(action: str, method: str) -> None:
    assert _snake(action) == method


def test_a_dry_run_reads_asks_and_changes_nothing() -> None:
    """The state object is not written, the one changing call is made with DryRun."""
    cloud = Cloud()
    asked: list[Call] = []
    cloud.on = asked.append
    cloud.fails["ReplaceRoute"] = ["DryRunOperation: Request would have succeeded"]
    found = Rehearsal(DECLARATION, OWN, cloud).found()
    assert found == {"state": "ok", "routes": 1, "addresses": 0, "same": 0}
    assert cloud.states == []
    [change] = [call for call in asked if call.action == "ReplaceRoute"]
    assert change.parameters["DryRun"] is True


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("ReplaceRoute", "UnauthorizedOperation: You are not authorized"),
        ("HeadBucket", "AccessDenied: Access Denied"),
        ("DescribeRouteTables", "EndpointConnectionError: Could not connect"),
    ],
)
def test_a_dry_run_that_fails_says_why_and_does_not_repeat(action: str, error: str) -> None:
    cloud = Cloud()
    cloud.fails[action] = [error]
    found = Rehearsal(DECLARATION, OWN, cloud).found()
    assert found == {"state": "failed", "reason": f"{action}: {error}"}
    assert cloud.actions.count(action) == 1


def test_a_change_that_is_carried_out_all_the_same_is_no_success() -> None:
    found = Rehearsal(DECLARATION, OWN, Cloud()).found()
    assert found["state"] == "failed"


def prepared(cloud: Cloud, story: Story, *more: str) -> None:
    """`serve` is told to prepare; once all is looked up, what follows."""
    looked_up = threading.Event()
    ended = threading.Event()

    def on(call: Call) -> None:
        if call.action == "PutObject" and len(cloud.states) == 1:
            looked_up.set()

    cloud.on = on

    class Watched(Task):
        def run(self) -> None:
            super().run()
            ended.set()

    def lines() -> Iterator[str]:
        yield json.dumps({"prepare": True})
        assert looked_up.wait(10)
        assert "ReplaceRoute" not in cloud.actions
        assert not ended.wait(0.3)  # held, or it would be over
        for what in more:
            yield json.dumps({what: True})
        assert ended.wait(10)

    extension.serve(lambda: Watched(DECLARATION, OWN, cloud, 0.0, story.tell), lines=lines())


def test_what_was_looked_up_before_the_trigger_is_done_at_the_trigger(
    cloud: Cloud, story: Story
) -> None:
    prepared(cloud, story, "trigger")
    assert cloud.actions.count("DescribeRouteTables") == 1
    assert cloud.actions[-2:] == ["ReplaceRoute", "PutObject"]
    assert len(story.notes("failover-complete")) == 1


def test_a_device_that_stands_by_before_its_trigger_changes_nothing(
    cloud: Cloud, story: Story
) -> None:
    prepared(cloud, story, "cancel")
    assert "ReplaceRoute" not in cloud.actions
    assert story.notes("failover-cancelled") == [{}]
    assert cloud.states[-1]["taskState"] == "SUCCEEDED"
