"""The failover extension's way to the cloud: boto3, without its own retries."""

from __future__ import annotations

import threading
from typing import Any

from emulator.core.cloudfailover import Call
from emulator.core.config import CloudFailover

CONNECTIONS = 32
_TIMEOUT_S = 10.0


class Aws:
    """boto3 clients of one account; usable from several threads."""

    def __init__(self, access: CloudFailover) -> None:
        import boto3
        from botocore.config import Config as Settings

        settings = Settings(
            retries={"total_max_attempts": 1},
            connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
            max_pool_connections=CONNECTIONS,
            s3={"addressing_style": "path"},
        )
        session = boto3.Session(access.access_key, access.secret_key, region_name=access.region)
        url = f"http://{access.api.address}:{access.api.port}"
        self._clients: dict[str, Any] = {
            name: session.client(name, endpoint_url=url, config=settings) for name in ("ec2", "s3")
        }
        # One connection each, as the threads take turns; more would only queue in the API.
        self._turn = threading.BoundedSemaphore(CONNECTIONS)

    def __call__(self, call: Call) -> tuple[Any, str]:
        """The answer, and the error's text: empty when the cloud accepted."""
        from botocore.exceptions import BotoCoreError, ClientError

        method = getattr(self._clients[call.service], _snake(call.action))
        try:
            with self._turn:
                return method(**call.parameters), ""
        except ClientError as error:
            told = error.response.get("Error", {})
            return None, f"{told.get('Code')}: {told.get('Message')}"
        except (BotoCoreError, OSError) as error:
            return None, f"{type(error).__name__}: {error}"


def _snake(action: str) -> str:
    """boto3's name of an action."""
    if action == "ListObjectsV2":
        return "list_objects_v2"
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in action).lstrip("_")
