"""The device and its failover extension, two processes, and no cloud that answers."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from emulator.core.config import CloudFailover, Config
from emulator.core.events import ExtensionNote
from emulator.device.cloudclient import CloudClient, ExtensionLost
from emulator.wire.segment import Endpoint

DEADLINE_S = 60.0
DECLARATION = {
    "class": "Cloud_Failover",
    "environment": "aws",
    "externalStorage": {"scopingName": "bucket"},
}
ACCESS = CloudFailover(
    api=Endpoint(IPv4Address("127.0.0.1"), 9),  # discard: nobody listens
    region="us-east-1",
    access_key="AKIA",
    secret_key="x",
    instance="i-bigip-a",
    declaration=DECLARATION,
    retry_s=0.01,
)
CONFIG = Config(
    name="bigip-a",
    order=0,
    traffic_group="traffic-group-1",
    ha_address=IPv4Address("10.0.12.11"),
    peer_ha_address=IPv4Address("10.0.22.11"),
    self_ips=(),
    virtual_servers=(),
    cloud_failover=ACCESS,
)


class Talk:
    """A client, and all its extension has said."""

    def __init__(self, client: CloudClient) -> None:
        self.client = client
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def until(self, what: str) -> dict[str, Any]:
        """The details of the next note of this kind."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            for kind, details in self.heard:
                if kind == what:
                    self.heard.clear()
                    return details
            select.select([self.client.fd], [], [], 1.0)
            for event in self.client.events():
                assert isinstance(event, ExtensionNote)
                self.heard.append((event.what, event.details))
        raise AssertionError(f"no {what} in {self.heard}")


@pytest.fixture
def talk(request: pytest.FixtureRequest) -> Iterator[Talk]:
    declaration = getattr(request, "param", DECLARATION)
    config = replace(CONFIG, cloud_failover=replace(ACCESS, declaration=declaration))
    client = CloudClient(config)
    yield Talk(client)
    client.close()


def test_an_api_that_is_down_is_told_asked_again_and_cancelled(talk: Talk) -> None:
    talk.until("declaration-accepted")
    assert talk.client.state == "idle"
    talk.client.request_routes()
    assert talk.client.state == "running"
    failed = talk.until("cloud-call-failed")
    assert failed["call"] == "HeadBucket"
    assert "Could not connect to the endpoint URL" in failed["error"]
    assert talk.client.state == "retrying"
    talk.client.cancel()
    talk.until("failover-cancelled")
    assert talk.client.state == "idle"


def test_the_end_of_a_failover_that_was_given_up_is_not_the_end_of_the_next(talk: Talk) -> None:
    """The peer had seemed dead at the start, and came: the routes are asked for once more."""
    talk.client.request_routes()
    talk.until("cloud-call-failed")
    talk.client.request_routes()
    talk.until("failover-cancelled")
    assert talk.client.state in ("running", "retrying")
    talk.client.cancel()
    talk.until("failover-cancelled")
    assert talk.client.state == "idle"


def test_an_api_that_stays_down_is_given_up(talk: Talk) -> None:
    talk.client.request_routes()
    assert "given up after 50 attempts" in talk.until("failover-failed")["reason"]
    assert talk.client.state == "failed"


@pytest.mark.parametrize("talk", [{**DECLARATION, "nosuch": 1}], indirect=True)
def test_a_wrong_declaration_is_told_and_nothing_is_asked(talk: Talk) -> None:
    text = "nosuch: Extra inputs are not permitted"
    assert talk.until("declaration-refused") == {"reason": text}
    talk.client.request_routes()
    assert text in talk.until("failover-failed")["reason"]


def test_an_extension_that_dies_is_not_overlooked(talk: Talk) -> None:
    talk.until("declaration-accepted")
    talk.client._process.kill()
    with pytest.raises(ExtensionLost):
        talk.until("never")
