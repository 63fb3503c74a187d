"""How rarely a process with a desk looks for cyclic garbage: a tracker, or a simulated one."""

import gc

_THRESHOLDS = (50_000, 20, 100)


def collect_rarely() -> None:
    """Look rarely from now on. A desk has many objects that live, and no cycles that grow with its
    work; by default over a tenth of its time goes into looking for them."""
    gc.set_threshold(*_THRESHOLDS)
