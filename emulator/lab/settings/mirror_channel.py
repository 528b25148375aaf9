"""The mirroring channel's faults, as a scenario sets them. Pure values.

They are faults of the network between the devices: behind their backs, and of the channel
alone. Heartbeats go on, so no device takes the other one for dead because of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FAULTS = Literal["cut", "slow", "to-standby-lost", "to-active-lost"]


class MirrorChannel(BaseModel):
    """One fault of the channel, and from when on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: FAULTS = Field(
        description="cut: nothing passes; slow: bits_per_s each way; to-standby-lost: only what "
        "the active device sends is lost; to-active-lost: only what the standby answers is"
    )
    bits_per_s: Annotated[int, Field(ge=8_000, le=10_000_000_000)] | None = Field(
        None, description="with slow: what passes, headers included"
    )
    before_failover_s: Annotated[float, Field(ge=0, le=3600)] | None = Field(
        None, description="it begins so long before the failover; null: before any session opens"
    )

    @model_validator(mode="after")
    def _consistent(self) -> MirrorChannel:
        if (self.fault == "slow") != (self.bits_per_s is not None):
            raise ValueError("bits_per_s belongs to the fault slow, which needs it")
        return self
