"""The world around the devices: namespaces, links, and the provider's fabric.

    topology -> plan -> build          values, a printable plan, the kernel
    cloud.fabric -> cloud.server       the fabric's decisions, the process that applies them

Imports nothing of `emulator`: it could serve any other device.
"""
