"""Recorded TCP flows, replayed between real ends through the pair.

`recording` reads a capture file, `flows` finds the flows in it and puts their bytes in order,
`script` keeps what is to be replayed on disk, `player` is the process at either end, `traffic`
starts and watches those of one run, `account` says what the recording was beside what it is now.
"""
