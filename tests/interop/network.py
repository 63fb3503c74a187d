"""A small internet out of network namespaces: a public server, and homes behind NAT.

Everything is inside of the kernel and ends with the block; no packet leaves the machine. Public
addresses are ones that no network here uses, because those kept for documentation are not public
to a program that looks.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from tests.interop import programs

SERVER = "45.0.0.1"
"""The address of the public server."""

LAN = ("192.168.1.11", "192.168.1.12")
"""Addresses of two machines in one local network."""


FORWARD = "sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'"


class RefusedError(Exception):
    """The kernel does not do that."""


def run(command: str) -> str:
    """Run a command; what it prints."""
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"{command}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Space:
    """A network namespace."""

    name: str

    @property
    def inside(self) -> tuple[str, ...]:
        """A command that runs another one in here."""
        return ("ip", "netns", "exec", self.name)

    def do(self, *commands: str) -> None:
        """Run commands in here."""
        for command in commands:
            run(shlex.join(self.inside) + " " + command)

    def end(self) -> None:
        """Remove it, and whatever still runs in it."""
        for process in run(f"ip netns pids {self.name}").split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        run(f"ip netns delete {self.name}")


@dataclass(frozen=True, slots=True)
class Home:
    """A machine, and the router with NAT that it is behind."""

    machine: Space
    router: Space
    private: str
    public: str


@dataclass(slots=True)
class Internet:
    """The server's namespace, through which all packets go, and the homes."""

    public: Space
    homes: list[Home] = field(default_factory=list)

    def forwarded(self) -> int:
        """Bytes of UDP that went from home to home, or tried to."""
        counted = run(shlex.join(self.public.inside) + " iptables -nvxL FORWARD")
        found = re.search(r"^ *\d+ +(\d+) +(?:udp|17) ", counted, re.MULTILINE)
        assert found, counted
        return int(found[1])

    def block_udp_between_homes(self) -> None:
        """As a strict firewall does; the server is still reached."""
        self.public.do("iptables -A FORWARD -p udp -j DROP")

    def block_udp(self, *, but: int | None = None) -> None:
        """Nothing over UDP, not even to the server, but to its port ``but``."""
        self.block_udp_between_homes()
        if but is not None:
            self.public.do(f"iptables -A INPUT -p udp ! -i lo --dport {but} -j ACCEPT")
        self.public.do("iptables -A INPUT -p udp ! -i lo -j DROP")


@contextmanager
def internet(homes: int = 2) -> Iterator[Internet]:
    """Build it. Skips the test where that cannot be done."""
    _check()
    with ExitStack() as stack:
        made = Internet(_space(stack, "public"))
        made.public.do("ip link set lo up", f"ip address add {SERVER}/32 dev lo", FORWARD)
        made.public.do("iptables -A FORWARD -p udp")  # only counts
        for number in range(1, homes + 1):
            made.homes.append(_home(stack, made.public, number))
        yield made


@contextmanager
def lan() -> Iterator[tuple[Space, Space]]:
    """Two machines in one local network, at ``LAN``. Skips the test where that cannot be done."""
    _check()
    with ExitStack() as stack:
        one, two = _space(stack, "one"), _space(stack, "two")
        _wire((one, "eth0", LAN[0]), (two, "eth0", LAN[1]))
        for space in one, two:
            space.do("ip link set lo up")
        yield one, two


def _home(stack: ExitStack, public: Space, number: int) -> Home:
    # Both homes use the same private network, as homes do.
    private, gateway = f"192.168.1.{10 + number}", "192.168.1.1"
    outside, provider = f"45.0.{number}.2", f"45.0.{number}.1"
    machine, router = _space(stack, f"home{number}"), _space(stack, f"router{number}")
    _wire((machine, "eth0", private), (router, "lan", gateway))
    _wire((router, "wan", outside), (public, f"home{number}", provider))
    machine.do("ip link set lo up", f"ip route add default via {gateway}")
    router.do(
        f"ip route add default via {provider}",
        FORWARD,
        "iptables -t nat -A POSTROUTING -o wan -j MASQUERADE",
        # A router neither answers strangers nor lets them in.
        "iptables -A INPUT -i wan -m conntrack --ctstate NEW -j DROP",
        "iptables -A FORWARD -i wan -m conntrack --ctstate NEW -j DROP",
    )
    return Home(machine, router, private, outside)


def _check() -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    programs.need("ip", "iptables")


def _space(stack: ExitStack, name: str) -> Space:
    space = Space(f"openswarm-{os.getpid()}-{name}")
    try:
        run(f"ip netns add {space.name}")
    except RefusedError as error:
        pytest.skip(f"no network namespaces here: {error}")
    stack.callback(space.end)
    return space


def _wire(*ends: tuple[Space, str, str]) -> None:
    """A cable between two namespaces: in each the name of its end, and its address."""
    (one, here, _), (other, there, _) = ends
    run(f"ip link add {here} netns {one.name} type veth peer name {there} netns {other.name}")
    for space, name, address in ends:
        space.do(f"ip address add {address}/24 dev {name}", f"ip link set {name} up")
