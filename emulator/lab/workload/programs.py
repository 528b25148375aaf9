"""Session kinds that are programs of their own, not conversations of `workload.session`. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """`python -m MODULE KIND ADDRESS LOG ETC`; `unit_bytes`: one exchange, as its log counts."""

    module: str
    unit_bytes: int


PROGRAMS: dict[str, Program] = {
    "udp": Program("emulator.lab.workload.datagrams", 64),
    "reconnect": Program("emulator.lab.workload.reconnect", 9),
}
SECOND_CLIENT_NAME = "client-2"  # in /etc/hosts: the client's other address
