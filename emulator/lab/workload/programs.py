"""What both sides of the datagram and the returning sessions have to agree on. Pure."""

from __future__ import annotations

DATAGRAM_BYTES = 64
GREETING_BYTES = 9  # of one connection of a returning client, as its log counts
SECOND_CLIENT_NAME = "client-2"  # in /etc/hosts: the client's other address
