"""Helpers the tests share: packets, scripts for one device, a pair without sockets."""
