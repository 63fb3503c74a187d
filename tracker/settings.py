"""What an operator chooses when a tracker is started."""

from dataclasses import dataclass, field

from tracker.address import Address
from tracker.announce.admission import Mode
from tracker.reach import Reach
from workunits.verification import Policy

NO_UDP = Address("", 0)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long a request to a model waits, in seconds."""

    verdict: float = 60.0
    """A complete answer for its verdict; then it is given out as not verified."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``udp`` is where to listen for datagrams: ``None`` for the address and port of HTTP,
    ``NO_UDP`` for nowhere. ``answers`` is the policy by which answers of models are checked."""

    mode: Mode = Mode.LISTED
    reach: Reach = field(default_factory=Reach)
    udp: Address | None = None
    answers: Policy = Policy.PAIR
    waiting: Waiting = field(default_factory=Waiting)
