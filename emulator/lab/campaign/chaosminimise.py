"""A failing plan made smaller: faults and traffic are taken away while it still fails. Pure.

Chance has a part in every failure, so a smaller plan is tried several times.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.lab.campaign.chaosplan import Plan, smaller


def minimise(
    plan: Plan, fails: Callable[[Plan], bool], *, tries: int = 3, need: int = 1
) -> Plan | None:
    """The smallest plan found that fails `need` times of `tries`; None when the plan itself does
    not. `fails` carries one out."""
    if not _reproduces(plan, fails, tries, need):
        return None
    while True:
        for candidate in smaller(plan):
            if _reproduces(candidate, fails, tries, need):
                plan = candidate
                break
        else:
            return plan


def _reproduces(plan: Plan, fails: Callable[[Plan], bool], tries: int, need: int) -> bool:
    """Stops as soon as it is decided."""
    failed = 0
    for tried in range(tries):
        failed += fails(plan)
        if failed >= need:
            return True
        if failed + tries - tried - 1 < need:
            return False
    return False
