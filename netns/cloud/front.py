"""What stands before the API's actions, in this order: the signature, the queue, the right
to do it, injected errors, the token bucket, and what this lab's cloud does not carry out.

Errors have EC2's or S3's own code, status and form (EC2 API reference, "Error codes"; S3
API reference, "Error responses"), so that an SDK raises what it would raise in AWS.
"""

from __future__ import annotations

import fnmatch
import io
import random
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from netns.cloud.aws import CHANGES
from netns.cloud.fabric import ApiError
from netns.cloud.signature import right, scope_of
from netns.cloud.throttle import Throttle, bucket_of

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]
_READS = ("Describe", "Get", "List", "Head")
_S3_ACTIONS = {
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}


class Refused(Exception):
    """An error of the API's own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Key:
    """An access key. `denied`: patterns of "service:Action" its owner may not do."""

    owner: str
    secret: str
    denied: tuple[str, ...] = ()


@dataclass
class Fault:
    """Requests that fail on purpose; `left` counts down from the setting's `next`."""

    action: str
    code: str
    status: int
    rate: float
    left: int
    device: str | None

    def hits(self, owner: str, action: str) -> bool:
        """Whether this request is one of them."""
        if self.device not in (None, owner) or self.action not in ("*", action):
            return False
        if self.left > 0:
            self.left -= 1
            return True
        return random.random() < self.rate


@dataclass
class Settings:
    """The scenario's `cloud.api`, as far as it concerns single requests."""

    region: str
    keys: dict[str, Key]
    authentication_s: float = 0.0
    queue_s: float = 0.0
    throttle: Throttle | None = None
    faults: Iterable[Fault] = field(default_factory=list)


class Front:
    """A WSGI application before another one. `refused(action, code)` hears of every error."""

    def __init__(
        self, settings: Settings, inner: Wsgi, refused: Callable[[str, str], None]
    ) -> None:
        self._settings, self._inner, self._refused = settings, inner, refused
        self._lock = threading.Lock()  # throttle and faults
        self._one = threading.Lock()  # moto is not made for several threads at once

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        form = form_of(environ, body)
        scope = scope_of(environ.get("HTTP_AUTHORIZATION", ""))
        service = scope.service if scope else "ec2" if "Action" in form else "s3"
        action = form["Action"] if "Action" in form else s3_action(environ)
        try:
            owner = self._authenticated(environ, body, service)
            time.sleep(self._settings.queue_s)
            self._allowed(owner, service, action, form)
            with self._one:
                return list(self._inner(environ, start_response))
        except ApiError as error:
            refusal = Refused(400, error.code, error.message)
        except Refused as error:
            refusal = error
        self._refused(action, refusal.code)
        return answer(service, refusal, start_response, environ["REQUEST_METHOD"])

    def _authenticated(self, environ: Mapping[str, Any], body: bytes, service: str) -> str:
        """The owner of the key that signed the request; raises Refused."""
        time.sleep(self._settings.authentication_s)
        scope = scope_of(environ.get("HTTP_AUTHORIZATION", ""))
        if scope is None:
            raise _unsigned(service)
        if scope.region != self._settings.region:
            raise _wrong_region(service, scope.region, self._settings.region)
        key = self._settings.keys.get(scope.key)
        if key is None:
            raise _unknown_key(service)
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        headers["content-length"] = environ.get("CONTENT_LENGTH", "")
        query = environ.get("QUERY_STRING", "")
        url = f"http://{headers.get('host', '')}{raw_path(environ)}" + (
            f"?{query}" if query else ""
        )
        if not right(scope, key.secret, environ["REQUEST_METHOD"], url, headers, body):
            raise _wrong_signature(service)
        return key.owner

    def _allowed(self, owner: str, service: str, action: str, form: Mapping[str, str]) -> None:
        """Raises Refused, ApiError."""
        settings = self._settings
        denied = next(key.denied for key in settings.keys.values() if key.owner == owner)
        if any(fnmatch.fnmatchcase(f"{service}:{action}", pattern) for pattern in denied):
            raise _unauthorized(service, action)
        narrowed = any(name.startswith(("Filter.", "MaxResults")) or "Id." in name for name in form)
        bucket = bucket_of(service, action, narrowed=narrowed)
        with self._lock:
            for fault in settings.faults:
                if fault.hits(owner, action):
                    raise Refused(fault.status, fault.code, "An error of the scenario's own.")
            if settings.throttle and not settings.throttle.take(bucket, time.monotonic()):
                raise _throttled(service)
        if service == "ec2" and not action.startswith(_READS) and action not in CHANGES:
            raise ApiError(
                "UnsupportedOperation", f"This lab's cloud does not carry out {action or 'this'}."
            )


def form_of(environ: Mapping[str, Any], body: bytes) -> dict[str, str]:
    """The parameters of an EC2 Query request, from body or address."""
    text = environ.get("QUERY_STRING", "")
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        text = body.decode(errors="replace")
    return dict(urllib.parse.parse_qsl(text, keep_blank_values=True))


def s3_action(environ: Mapping[str, Any]) -> str:
    """The S3 action of a path-style request, by IAM's name as far as they differ."""
    method, query = str(environ["REQUEST_METHOD"]), str(environ.get("QUERY_STRING", ""))
    _, _, key = environ.get("PATH_INFO", "/").lstrip("/").partition("/")
    if environ.get("PATH_INFO", "/") == "/":
        return "ListAllMyBuckets"
    if key:
        return _S3_ACTIONS.get(method, method)
    if "tagging" in query:
        return "GetBucketTagging" if method == "GET" else "PutBucketTagging"
    if "location" in query:
        return "GetBucketLocation"
    return "ListBucket" if method in ("GET", "HEAD") else f"{method.title()}Bucket"


def raw_path(environ: Mapping[str, Any]) -> str:
    """The path as it stood in the request: the signature is over that."""
    raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"])
    path: str = urllib.parse.urlsplit(raw).path
    return path or "/"


def answer(service: str, error: Refused, start_response: Any, method: str) -> Sequence[bytes]:
    """The error in the service's own form."""
    request = uuid.uuid4()
    code, message = escape(error.code), escape(error.message)
    if service == "s3":
        text = (
            f"<Error><Code>{code}</Code><Message>{message}</Message>"
            f"<RequestId>{request}</RequestId></Error>"
        )
    else:
        text = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>"
            f"</Errors><RequestID>{request}</RequestID></Response>"
        )
    data = b"" if method == "HEAD" else f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    headers = [("Content-Type", "text/xml;charset=UTF-8"), ("Content-Length", str(len(data)))]
    start_response(f"{error.status} {code}", headers)
    return [data]


def _unsigned(service: str) -> Refused:
    if service == "s3":
        return Refused(403, "AccessDenied", "Access Denied")
    return Refused(
        401, "AuthFailure", "AWS was not able to validate the provided access credentials"
    )


def _unknown_key(service: str) -> Refused:
    if service == "s3":
        text = "The AWS Access Key Id you provided does not exist in our records."
        return Refused(403, "InvalidAccessKeyId", text)
    return _unsigned(service)


def _wrong_signature(service: str) -> Refused:
    if service == "s3":
        text = "The request signature we calculated does not match the signature you provided."
        return Refused(403, "SignatureDoesNotMatch", text)
    return _unsigned(service)


def _wrong_region(service: str, region: str, expected: str) -> Refused:
    if service == "s3":
        text = (
            "The authorization header is malformed; the region "
            f"'{region}' is wrong; expecting '{expected}'"
        )
        return Refused(400, "AuthorizationHeaderMalformed", text)
    return Refused(
        401, "AuthFailure", f"Credential should be scoped to a valid region, not '{region}'."
    )


def _unauthorized(service: str, action: str) -> Refused:
    if service == "s3":
        return Refused(403, "AccessDenied", "Access Denied")
    text = f"You are not authorized to perform this operation: {service}:{action}."
    return Refused(403, "UnauthorizedOperation", text)


def _throttled(service: str) -> Refused:
    if service == "s3":
        return Refused(503, "SlowDown", "Please reduce your request rate.")
    return Refused(503, "RequestLimitExceeded", "Request limit exceeded.")


class Outage:
    """When the API takes no connection. `moment`: a file the lab touches at the failover."""

    def __init__(self, setting: Mapping[str, float | None] | None, moment: Path) -> None:
        self._setting, self._moment = setting, moment

    def now(self) -> bool:
        """Whether it is out at this moment; the clock is the file system's (wall) clock."""
        if self._setting is None:
            return False
        begins, ends = self._setting["from_s"], self._setting["to_s"]
        try:
            since = time.time() - self._moment.stat().st_mtime
        except OSError:
            return begins is None  # the failover is still to come
        return (begins is None or since >= begins) and (ends is None or since < ends)
