"""What a container may do: the hardened profile, as arguments for the engine. Pure.

The usual checklist leaves holes (logs that fill the disk, inodes without end, declared volumes,
AF_VSOCK, 32-bit system calls, io_uring, SysV memory that outlives a unit). Every line here closes
one that was seen open.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from sandbox.runner import Limits

USER = 65534
"""Uid and gid of the program; nobody on every Linux system."""
PIDS = 64
MIB = 1 << 20
TMP_BYTES = 32 * MIB
SHM_BYTES = 8 * MIB
OUTPUT_SLACK = MIB
"""Room in /out beyond the limit, so that going over the limit is seen and not just an error."""
HARNESS_BYTES = 32 * MIB
"""Memory of the container beyond the program's: the harness and its page tables."""
OUTPUT_INODES = 500
SMALLEST_FSIZE = 64 * MIB

LABEL = "openswarm"
OWNER_LABEL = "openswarm.owner"
DEADLINE_LABEL = "openswarm.deadline"


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the machine that one container may use.

    ``nano_cpus`` is CPU time per second in billionths (10**9 is one core); ``cpuset`` names the
    cores in the kernel's notation ("0-3,8"); without it the container runs on any. ``weight`` says
    who goes first when all cores are busy: other programs of the machine have 1024.
    """

    nano_cpus: int = 10**9
    cpuset: str | None = None
    weight: int = 128


@dataclass(frozen=True, slots=True)
class Owner:
    """Who answers for a container, in words that a later process can check."""

    name: str
    deadline: int
    """Seconds since 1970; after it anybody may remove the container."""


@cache
def seccomp() -> str:
    """The system call filter as JSON: an allow-list, one architecture, no 32-bit side door."""
    text = resources.files("sandbox").joinpath("seccomp.json").read_text(encoding="utf-8")
    return json.dumps(json.loads(text), separators=(",", ":"))


def memory_limit(limits: Limits) -> int:
    """Memory of the container in bytes: tmpfs pages count too, so outputs come on top."""
    return limits.memory_bytes + limits.output_bytes + OUTPUT_SLACK + HARNESS_BYTES


def tmpfs(limits: Limits) -> dict[str, str]:
    """The writable places, every one with a cap on bytes and on inodes."""
    common = "noexec,nosuid,nodev"
    return {
        "/tmp": f"size={TMP_BYTES},nr_inodes=1000,mode=1777,{common}",  # noqa: S108
        "/dev/shm": f"size={SHM_BYTES},nr_inodes=100,mode=1777,{common}",  # noqa: S108
        "/out": f"size={limits.output_bytes + OUTPUT_SLACK},nr_inodes={OUTPUT_INODES},"
        f"uid={USER},gid={USER},mode=0700,{common}",
    }


def ulimits(limits: Limits) -> list[dict[str, Any]]:
    """Resource limits of every process (getrlimit(2))."""
    fsize = max(limits.output_bytes + OUTPUT_SLACK, SMALLEST_FSIZE)
    values = {
        "core": 0,
        "fsize": fsize,
        "memlock": 0,
        "msgqueue": 0,
        "nice": 0,
        "nofile": 256,
        "rtprio": 0,
        "sigpending": 256,
    }
    return [{"Name": name, "Soft": value, "Hard": value} for name, value in values.items()]


def host_config(
    limits: Limits, share: Share, folder: Path, runtime: str | None = None
) -> dict[str, Any]:
    """``HostConfig`` of the engine's API; ``folder`` holds the ``in`` and ``job`` to be shown."""
    memory = memory_limit(limits)
    config: dict[str, Any] = {
        "NetworkMode": "none",
        "CapDrop": ["ALL"],
        "ReadonlyRootfs": True,
        "IpcMode": "private",
        "CgroupnsMode": "private",
        # The harness is process 1 itself: nothing inside can kill it, and orphans come to it.
        "Init": False,
        "OomScoreAdj": 900,
        "SecurityOpt": ["no-new-privileges:true", "seccomp=" + seccomp()],
        "Memory": memory,
        "MemorySwap": memory,
        "MemorySwappiness": 0,
        "NanoCpus": share.nano_cpus,
        "CpuShares": share.weight,
        "PidsLimit": PIDS,
        "Ulimits": ulimits(limits),
        "Tmpfs": tmpfs(limits),
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no"},
        "Mounts": [
            {
                "Type": "bind",
                "Source": str(folder / name),
                "Target": f"/{name}",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "rprivate"},
            }
            for name in ("in", "job")
        ],
    }
    if share.cpuset is not None:
        config["CpusetCpus"] = share.cpuset
    if runtime is not None:
        config["Runtime"] = runtime
    return config


def container(
    image: str, source: str, host: dict[str, Any], owner: Owner, words: Sequence[str] = ()
) -> dict[str, Any]:
    """Body of the engine's "create" call for a container whose process 1 is the Python program
    ``source``, with arguments ``words``."""
    return {
        "Image": image,
        "Entrypoint": ["python3", "-I", "-S", "-B", "-c", source],
        "Cmd": list(words),
        # Otherwise the image's own environment would reach the harness.
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"],
        "WorkingDir": "/",
        "User": f"{USER}:{USER}",
        "Hostname": "unit",
        "NetworkDisabled": True,
        "StopSignal": "SIGKILL",
        "Healthcheck": {"Test": ["NONE"]},
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "Tty": False,
        "Labels": {
            LABEL: "1",
            OWNER_LABEL: owner.name,
            DEADLINE_LABEL: str(owner.deadline),
        },
        "HostConfig": host,
    }
