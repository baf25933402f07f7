"""Can this command reach anything but what it is allowed to?

`run` starts a command for which only named endpoints exist; every other attempt is refused, counted and logged
with its destination, host names included. No rights, no package, no tool is needed: Linux's own user and network
namespaces cut, and the kernel asks us about every call that names a destination. Where a machine forbids one
way, the next one is tried, and the result says which one held and what it does not stop.
"""

from reversible.fence.run import KINDS, Attempt, Fenced, run

__all__ = ["KINDS", "Attempt", "Fenced", "run"]
