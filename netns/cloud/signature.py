"""Who asks: AWS Signature Version 4, checked with botocore's own signing code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,]+)/(?P<date>\d{8})/(?P<region>[^/,]+)/"
    r"(?P<service>[^/,]+)/aws4_request, ?SignedHeaders=(?P<headers>[^,]+), ?"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True)
class Scope:
    """What the Authorization header says of itself; nothing of it is checked yet."""

    key: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str


def scope_of(authorization: str) -> Scope | None:
    """None where the header is no SigV4 one."""
    match = _AUTHORIZATION.fullmatch(authorization.strip())
    if match is None:
        return None
    headers = tuple(match["headers"].split(";"))
    return Scope(match["key"], match["region"], match["service"], headers, match["signature"])


def right(
    scope: Scope, secret: str, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> bool:
    """Whether the signature is the one `secret` makes. `headers`: names in small letters. No
    signature is right for a `url` that names no host: the path of a request may be anything."""
    if not _names_a_host(url):
        return False
    kind = S3SigV4Auth if scope.service == "s3" else SigV4Auth
    signer = kind(Credentials(scope.key, secret), scope.service, scope.region)
    signed = {name: headers.get(name, "") for name in scope.headers}
    request = AWSRequest(method=method, url=url, data=body, headers=signed)
    request.context["timestamp"] = headers.get("x-amz-date", "")
    canonical = signer.canonical_request(request)
    expected: str = signer.signature(signer.string_to_sign(request, canonical), request)
    return expected == scope.signature


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.hostname is not None and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
