"""How patient both ends are: their kernels, their programs. Pure values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from emulator.lab.settings.model import Model

System = Literal["linux", "windows"]
Seconds = Annotated[float, Field(ge=1, le=3600)]
TIMED = ("echo", "bulk", "pausing")  # sessions whose program can have a timer


class ApplicationTimer(Model):
    """The client's program gives up when nothing of what it waits for has come for so long.

    Sessions echo, bulk and pausing have it.
    """

    after_s: Seconds
    ends_by: Literal["close", "abort"] = Field(
        "close", description="close: in the regular way (FIN); abort: with a reset"
    )


class SshKeepalive(Model):
    """Of the session ssh-keepalive; the defaults are those of the article's comment."""

    interval_s: Annotated[int, Field(ge=1, le=3600)] = Field(60, description="ServerAliveInterval")
    count: Annotated[int, Field(ge=1, le=100)] = Field(10, description="ServerAliveCountMax")


class Endpoints(Model):
    """Both ends of the connections."""

    client: System = Field(
        "linux", description="windows: gives up after 5 retransmissions, from 300 ms on"
    )
    server: System = "linux"
    application_timer: ApplicationTimer | None = Field(None, description="null: none")
    ssh_keepalive: SshKeepalive = SshKeepalive()
