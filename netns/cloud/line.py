"""What the API's process has of the fabric's: the world's description, and the line to it.

A module of its own: `netns.cloud.server` loads netlink, a third of a second of a processor.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from netns.cloud.fabric import ApiError
from netns.topology import World, cloud


class Line:
    """The API's end of the socket: one request at a time, from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rw")

    def ask(self, message: Mapping[str, object]) -> None:
        """Raises ApiError when the fabric refuses."""
        with self._lock:
            self._stream.write(json.dumps(message) + "\n")
            self._stream.flush()
            answer = json.loads(self._stream.readline())
        if answer:
            raise ApiError(answer["code"], answer["message"])

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


def read_world(config: Mapping[str, Any]) -> World:
    """The world the lab describes in its configuration."""
    routes = {(t, IPv4Network(d)): target for t, d, target in config["routes"]}
    return replace(
        cloud(config["lab"], routes, zones=config.get("zones", "two")),
        elastic_ips={
            IPv4Address(public): (target, IPv4Address(private))
            for public, target, private in config.get("elastic_ips", [])
        },
        secondary={IPv4Address(address): target for address, target in config.get("secondary", [])},
    )
