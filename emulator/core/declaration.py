"""A Cloud Failover declaration, in the published JSON form.

Source: base_schema.json of F5's Cloud Failover Extension 2.5.0. Unknown keys are errors
where the schema says additionalProperties false and, as the extension's log would not tell
either, nowhere else. Only what moves something in AWS has a meaning here.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

STATE_FILE = "f5cloudfailoverstate.json"
Tags = dict[str, Any]


class DeclarationError(ValueError):
    """Not a declaration; the text names the first field that is wrong."""


def _range(text: str) -> str:
    if text != "all":
        IPv4Network(text, strict=False)
    return text


class _Open(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")


class _Closed(_Open):
    model_config = ConfigDict(extra="forbid")


class NextHops(_Open):
    """Which self IPs a route may lead to: listed, or from the table's tag f5_self_ips."""

    discovery_type: Literal["static", "routeTag"]
    items: Annotated[tuple[StrictStr, ...], Field(max_length=10)] = ()


class AddressRange(_Open):
    """A destination, exactly as it stands in the table, or "all"."""

    range: Annotated[StrictStr, AfterValidator(_range)]
    next_hop_addresses: NextHops | None = None


class RouteGroup(_Closed):
    """Route tables (by id or tags) and the routes in them."""

    scoping_name: StrictStr | None = None
    scoping_tags: Tags | None = None
    scoping_address_ranges: tuple[AddressRange, ...] = ()
    default_next_hop_addresses: NextHops | None = None


class FailoverRoutes(_Open):
    """Either groups, or one group's settings without one around them."""

    enabled: StrictBool = True
    route_group_definitions: tuple[RouteGroup, ...] | None = None
    scoping_tags: Tags | None = None
    scoping_address_ranges: tuple[AddressRange, ...] | None = None
    default_next_hop_addresses: NextHops | None = None

    @model_validator(mode="after")
    def _one_form(self) -> FailoverRoutes:
        flat = self.scoping_tags is not None and self.scoping_address_ranges is not None
        if self.route_group_definitions is None and not flat:
            raise ValueError("needs routeGroupDefinitions, or scopingTags and scopingAddressRanges")
        return self

    @property
    def groups(self) -> tuple[RouteGroup, ...]:
        """Both forms as groups; none where it is not enabled."""
        if not self.enabled:
            return ()
        if self.route_group_definitions is not None:
            return self.route_group_definitions
        return (
            RouteGroup(
                scopingTags=self.scoping_tags,
                scopingAddressRanges=self.scoping_address_ranges or (),
                defaultNextHopAddresses=self.default_next_hop_addresses,
            ),
        )


class AddressGroup(_Open):
    """An address named one by one; only elastic IPs have a meaning in AWS across zones."""

    type: Literal[
        "forwardingRule", "aliasAddress", "networkInterfaceAddress", "elasticIpAddress",
        "publicIpAddress",
    ]  # fmt: skip
    scoping_address: StrictStr | None = None
    scoping_name: StrictStr | None = None
    vip_addresses: Annotated[tuple[IPv4Address, ...], Field(max_length=2)] = ()

    @model_validator(mode="after")
    def _complete(self) -> AddressGroup:
        if self.type == "elasticIpAddress" and not (
            self.scoping_address and len(self.vip_addresses) == 2
        ):
            raise ValueError("elasticIpAddress needs scopingAddress and two vipAddresses")
        return self


class FailoverAddresses(_Open):
    """Elastic IPs and secondary addresses, found by their tags or named one by one."""

    enabled: StrictBool = True
    scoping_tags: Tags | None = None
    require_scoping_tags: StrictBool = False
    address_group_definitions: tuple[AddressGroup, ...] | None = None

    @model_validator(mode="after")
    def _some(self) -> FailoverAddresses:
        if self.scoping_tags is None and self.address_group_definitions is None:
            raise ValueError("needs scopingTags or addressGroupDefinitions")
        return self


class ExternalStorage(_Open):
    """The bucket of the state object: by name, or by its tags."""

    scoping_name: StrictStr | None = None
    scoping_tags: Tags | None = None
    state_file_name: StrictStr = STATE_FILE

    @model_validator(mode="after")
    def _one(self) -> ExternalStorage:
        if (self.scoping_name is None) == (self.scoping_tags is None):
            raise ValueError("needs scopingName or scopingTags, one of the two")
        return self


class Declaration(_Closed):
    """The whole declaration."""

    class_: Literal["Cloud_Failover"] = Field(alias="class")
    environment: Literal["aws", "azure", "gcp"]
    schema_version: Annotated[StrictStr, Field(pattern=r"^\d+\.\d+\.\d+$")] = "2.4.0"
    schema_: StrictStr | None = Field(None, alias="$schema")
    custom_environment: dict[str, Any] | None = None
    external_storage: ExternalStorage | None = None
    failover_addresses: FailoverAddresses | None = None
    failover_routes: FailoverRoutes | None = None
    retry_failover: dict[str, Any] | None = None
    trusted_cert_bundle: StrictStr | None = None
    controls: dict[str, Any] | None = None


def read(raw: Mapping[str, object]) -> Declaration:
    """Raises DeclarationError: schema errors, and what this extension cannot do."""
    try:
        declaration = Declaration.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "declaration"
        text = str(first["msg"]).removeprefix("Value error, ")
        raise DeclarationError(f"{field}: {text}") from error
    if declaration.environment != "aws":
        raise DeclarationError(
            f"environment: {declaration.environment!r} is another provider than this device's, aws"
        )
    if declaration.external_storage is None:
        raise DeclarationError("externalStorage: missing; there is no place for the state")
    return declaration
