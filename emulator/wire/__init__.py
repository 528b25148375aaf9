"""Bytes to values and back. Pure: no I/O, no clock; every parser raises only its own error."""
