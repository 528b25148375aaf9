"""Signatures of requests that name no host: found by `make fuzz`."""

from __future__ import annotations

import pytest

from netns.cloud.signature import right, scope_of

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIAX/20260101/us-east-1/ec2/aws4_request, "
    f"SignedHeaders=x-amz-date, Signature={'0' * 64}"
)


@pytest.mark.parametrize("path", ["@", "&", ":x/", "/"])
def test_none_is_right_and_none_is_an_error(path: str) -> None:
    scope = scope_of(AUTHORIZATION)
    assert scope is not None
    url = f"http://10.0.2.10:5000{path}"
    assert not right(scope, "secret", "POST", url, {}, b"")
