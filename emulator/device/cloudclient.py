"""Asks the cloud to point the traffic group's routes at this device.

First DescribeRouteTables, then ReplaceRoute for each route that does not lead here yet, all
in parallel, a failed one again every 5 s, at most 50 times: the failover extension's own
way (f5-cloud-failover-extension 2.5.0, `util.retrier`). Requests run in threads, because
the device must go on deciding packets meanwhile; answers come back through `answers` and a
wake-up descriptor.
"""

from __future__ import annotations

import http.client
import os
import queue
import threading
import urllib.parse
from xml.etree import ElementTree

from emulator.core.config import Route
from emulator.core.events import RouteAnswer
from emulator.wire.segment import Endpoint

RETRY_S = 5.0
ATTEMPTS = 50
_TIMEOUT_S = 10.0


class CloudClient:
    """One device's access to the cloud's control plane."""

    def __init__(self, api: Endpoint, routes: tuple[Route, ...]) -> None:
        self._api, self._routes = api, routes
        self.answers: queue.SimpleQueue[RouteAnswer] = queue.SimpleQueue()
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._cancelled = threading.Event()

    def request_routes(self) -> None:
        """Start asking; earlier requests still under way are given up."""
        self.cancel()
        self._cancelled = threading.Event()
        for route in self._routes:
            threading.Thread(
                target=self._ask, args=(route, self._cancelled), name="cloud-api", daemon=True
            ).start()

    def cancel(self) -> None:
        """Retry no more."""
        self._cancelled.set()

    def _ask(self, route: Route, cancelled: threading.Event) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            changed, error = self._point_here(route)
            if error and attempt == ATTEMPTS:
                error += f"; given up after {ATTEMPTS} attempts"
            self.answers.put(RouteAnswer(route.table, str(route.destination), error, changed))
            os.eventfd_write(self.wake_fd, 1)
            if not error or cancelled.wait(RETRY_S):
                return

    def _point_here(self, route: Route) -> tuple[bool, str]:
        """Whether a change was needed, and the error, if any."""
        table, error = self._call({"Action": "DescribeRouteTables"})
        if error:
            return False, error
        if _target(table, route) == route.network_interface:
            return False, ""
        form = {
            "Action": "ReplaceRoute",
            "RouteTableId": route.table,
            "DestinationCidrBlock": str(route.destination),
            "NetworkInterfaceId": route.network_interface,
        }
        return True, self._call(form)[1]

    def _call(self, form: dict[str, str]) -> tuple[bytes, str]:
        """One call; the answer's body, and the error, empty when the cloud accepted."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urllib.parse.urlencode({**form, "Version": "2016-11-15"})
        connection = http.client.HTTPConnection(
            str(self._api.address), self._api.port, timeout=_TIMEOUT_S
        )
        try:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            answer = response.read()
            return answer, "" if response.status == 200 else _error(answer)
        except (OSError, http.client.HTTPException) as error:
            return b"", f"{type(error).__name__}: {error}"
        finally:
            connection.close()


def _target(answer: bytes, route: Route) -> str:
    """Where a route leads, from DescribeRouteTables; empty when it is not in there."""
    try:
        root = ElementTree.fromstring(answer)
    except ElementTree.ParseError:
        return ""
    for table in root.iterfind("{*}routeTableSet/{*}item"):
        if table.findtext("{*}routeTableId") != route.table:
            continue
        for item in table.iterfind("{*}routeSet/{*}item"):
            if item.findtext("{*}destinationCidrBlock") == str(route.destination):
                return item.findtext("{*}networkInterfaceId") or ""
    return ""


def _error(body: bytes) -> str:
    """EC2's <Code> and <Message>, or the start of whatever came instead."""
    try:
        root = ElementTree.fromstring(body)
        return f"{root.findtext('.//Code')}: {root.findtext('.//Message')}"
    except ElementTree.ParseError:
        return f"not an EC2 answer: {body[:80]!r}"
