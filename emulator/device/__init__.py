"""One process, one BIG-IP: the shell around `core.device`.

It learns of the world only from packets, its configuration and the cloud's API, as a real
device does; it never imports `netns` or `lab`.
"""
