"""Who owns a container or a folder: a name that tells a later process whether its owner lives."""

import os
import re
import secrets
from pathlib import Path

_NAME = re.compile(r"([0-9]{1,20})-([0-9]{1,10})-([0-9]{1,20})-[0-9a-f]{8}", re.ASCII)


def name_self() -> str:
    """A fresh name for this process: pid namespace, pid, start time, and a random part."""
    pid = os.getpid()
    return f"{_namespace()}-{pid}-{_started(pid) or 0}-{secrets.token_hex(4)}"


def is_owner(name: str) -> bool:
    """Whether ``name`` has the form of an owner's name."""
    return _NAME.fullmatch(name) is not None


def is_dead(name: str) -> bool:
    """Whether the owner is known to be gone.

    False when it cannot be known: the name is not ours, or it is from another pid namespace.
    """
    found = _NAME.fullmatch(name)
    if found is None or found[1] != _namespace():
        return False
    return _started(int(found[2])) != int(found[3])


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)


def _started(pid: int) -> int | None:
    """Start time of a living process in clock ticks since boot (proc(5)); None without one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
