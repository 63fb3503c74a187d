"""What a person chooses of the network: how peers may reach this one, and how fast."""

from dataclasses import dataclass
from enum import StrEnum

from client.peers.throttle import Rates

UNLIMITED = Rates()


class TcpPolicy(StrEnum):
    """Where plain TCP is used. It is not encrypted, unlike WebRTC."""

    LAN = "lan"
    """Inside of the local network only."""

    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Network:
    """Settings of a swarm.

    ``port`` is where to listen on TCP, 0 for any. ``relay_only`` shows no address to peers: they
    reach us through the tracker's TURN server or not at all. ``local`` finds peers of the local
    network by mDNS. ``limits`` hold over everything together.
    """

    tcp: TcpPolicy = TcpPolicy.LAN
    port: int = 0
    relay_only: bool = False
    local: bool = False
    limits: Rates = UNLIMITED

    @property
    def dials(self) -> bool:
        """Whether TCP is used at all."""
        return self.tcp is not TcpPolicy.NEVER and not self.relay_only
