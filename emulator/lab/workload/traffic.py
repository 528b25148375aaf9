"""What an experiment needs of its traffic, whatever it is: the lab's own sessions, or a replay."""

from __future__ import annotations

from typing import Protocol


class Traffic(Protocol):
    """Starts, watches and ends the connections of one run."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its connections, as verdicts have them."""

    @property
    def held_from_start(self) -> int:
        """How many connections are open, to stay so, once `opened`: the standby is to hold them."""

    @property
    def remaining_s(self) -> float:
        """How much longer than a failover's own time it takes to see what becomes of them."""

    @property
    def all_settled(self) -> bool: ...

    def start(self) -> None:
        """Raises LabFault."""

    def opened(self) -> bool: ...

    def failed_to_open(self) -> list[str]:
        """Processes that failed or were killed, then or later: a fault of ours."""

    def ended(self) -> list[str]:
        """Connections that have come to an end they should not, with the reason."""

    def steady_over(self, elapsed_s: float, planned_s: float, *, failover: bool) -> bool:
        """Whether the time of steady traffic is over: the failover may come, or the end."""

    def steady_at_most_s(self, planned_s: float) -> float:
        """By when it has to be, or something is wrong."""

    def failover_begins(self) -> None:
        """Called at the moment of the failover."""

    def settled(self, routes_effective: float | None, lived_s: float) -> list[str]:
        """Newly settled connections, a line each: ended, or living on (`Sessions.settled`)."""

    def stop(self) -> None:
        """End what is left of it."""
