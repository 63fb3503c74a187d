"""What an operator chooses when a tracker is started."""

from dataclasses import dataclass, field

from tracker.address import Address
from tracker.announce.admission import Mode
from tracker.reach import Reach

NO_UDP = Address("", 0)


@dataclass(frozen=True, slots=True)
class Settings:
    """``udp`` is where to listen for datagrams: ``None`` for the address and port of HTTP,
    ``NO_UDP`` for nowhere."""

    mode: Mode = Mode.LISTED
    reach: Reach = field(default_factory=Reach)
    udp: Address | None = None
