"""What this machine's processor can: answers of models are the same only where AVX2 is."""

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_MOST = 64 << 10
"""Bytes that are read: the first processor's lines, and more."""


def has_avx2(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor has AVX2, the instruction set that the engines of models are built
    for. ``False`` where that cannot be told."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as file:
            lines = file.read(_MOST).splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return "avx2" in flags.partition(":")[2].split()
