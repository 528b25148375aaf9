"""What every part of a scenario is made of. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=3600)]


class Model(BaseModel):
    """Unknown keys are errors: a mistyped cause must not silently have no effect."""

    model_config = ConfigDict(extra="forbid", frozen=True)
