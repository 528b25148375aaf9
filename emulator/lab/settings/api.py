"""The cloud's control plane as a scenario sets it: `cloud.api` and how addresses move. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(ge=0, le=3600)]
BucketName = Literal["describe", "describe-unfiltered", "mutate", "address", "tag", "s3"]


class Model(BaseModel):
    """Unknown keys are errors, as everywhere in a scenario."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bucket(Model):
    """A token bucket: one token a request, `refill_per_s` of them come back a second."""

    size: Annotated[float, Field(ge=1, le=100000)]
    refill_per_s: Annotated[float, Field(gt=0, le=100000)]


class ApiFault(Model):
    """Requests of one action that fail although nothing is wrong with them."""

    action: str = Field("*", description="e.g. ReplaceRoute, PutObject; *: every action")
    code: str = Field("InternalError", pattern=r"^[A-Za-z.]+$", description="the error's code")
    status: Annotated[int, Field(ge=400, le=599)] = 500
    rate: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="share of the requests")
    next: Annotated[int, Field(ge=0)] = Field(0, description="so many, beginning with the first")
    device: Literal["bigip-a", "bigip-b"] | None = Field(None, description="whose; null: all")

    @model_validator(mode="after")
    def _some(self) -> ApiFault:
        if not self.rate and not self.next:
            raise ValueError("neither rate nor next is set: no request would fail")
        return self


class Outage(Model):
    """The API accepts no connection.

    Seconds since the failover was triggered. `from_s` null: from the lab's start; `to_s`
    null: to its end. Both null: there is no API for the whole run.
    """

    from_s: Seconds | None = None
    to_s: Seconds | None = None


class Api(Model):
    """The provider's API, as the devices find it."""

    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,32}$")
    device_region: str | None = Field(
        None, pattern=r"^[a-z0-9-]{1,32}$", description="what the devices take it to be"
    )
    authentication_s: Seconds = Field(0.02, description="to check a request's signature")
    queue_s: Seconds = Field(0.05, description="a request waits before it is carried out")
    throttling: bool = Field(True, description="token buckets as AWS publishes them")
    buckets: dict[BucketName, Bucket] = Field(
        default_factory=dict, description="sizes other than the published ones"
    )
    credentials: Literal["valid", "unknown-key", "wrong-secret"] = Field(
        "valid", description="the devices' access keys"
    )
    denied_actions: tuple[str, ...] = Field(
        (), description="what the devices may not do, e.g. ec2:ReplaceRoute, s3:PutObject, ec2:*"
    )
    errors: tuple[ApiFault, ...] = ()
    outage: Outage | None = None
    retry_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        5.0, description="the failover extension waits so long before it asks again"
    )

    @property
    def refuses(self) -> bool:
        """Whether a device may ask in vain before anything has failed over."""
        down = self.outage is not None and self.outage.from_s is None
        told = self.credentials != "valid" or self.device_region not in (None, self.region)
        return down or told or bool(self.denied_actions or self.errors)


class ElasticIp(Model):
    """A public address and the private addresses it is associated with: the first one while
    bigip-a is active, the second while bigip-b is (secondary addresses of their `ext`)."""

    public: IPv4Address
    private: tuple[IPv4Address, IPv4Address]
