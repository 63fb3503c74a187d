"""One run of the simulator: its settings, and what came out of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """The settings of one run. All that happens follows from them."""

    policy: str
    """A ``workunits.manifest.Policy``, or a name in ``simulator.baselines.BASELINES``."""

    attack: str
    """A name in ``simulator.attackers.ATTACKS``."""

    attackers: float = 0.2
    """Share of the peers that attack, called f in the literature."""

    sabotage: float = 0.1
    """Share of its units that a saboteur gives a wrong answer to, called s."""

    units: int = 10_000
    peers: int = 200
    seed: int = 0

    hold: int = 4
    """Leases that a peer holds at once."""

    nap: int = 30
    """Units that a sleeper does honestly before it begins."""

    validators: float = 0.0
    """Share of the honest peers that join as validators: they compute only what they check."""

    referees: int = 10
    """Validators of the operator's, which join beside the peers."""

    rejoin: float = 600.0
    """Seconds after its ban at which a whitewasher is back: what the tracker makes it wait."""

    logged: bool = False
    """Write the ledger too; without it a run is a quarter faster."""

    signed: bool = False
    """Peers have real keys and sign what they commit to, and entries are kept for an auditor."""

    lies: int = 1000
    """Lies that a lying tracker tells about its ledger."""

    def __post_init__(self) -> None:
        if not (0 <= self.attackers < 1 and 0 <= self.sabotage <= 1):
            raise ValueError("shares are between 0 and 1")
        if self.units < 1 or self.peers < 2:
            raise ValueError("a run needs a unit and two peers")

    @property
    def cheats(self) -> int:
        """How many peers attack."""
        return round(self.attackers * self.peers)


@dataclass(frozen=True, slots=True)
class Tally:
    """What came out of one run. Credits are those of the workers; seconds are virtual."""

    accepted: int
    wrong: int
    """Accepted units whose result is not the true one."""

    failed: int
    unfinished: int
    """Units that had no verdict when nothing moved any more."""

    executions: int
    """Results that peers committed to, computed or not."""

    lost: int
    """Leases that expired and results that were withheld."""

    banned: int
    honest_banned: int
    identities: int
    """Keys that were used, new ones of banned peers included."""

    paid: int
    unearned: int
    """Credits paid for anything but computing a true result once."""

    copies: int
    copies_accepted: int
    minted: int
    held: int
    """The sum of all accounts but the mint's, which is ``minted``."""

    makespan: float
    head: str
    """The ledger's head, which follows from everything and its order; of an empty one unless it is
    written."""

    lies: tuple[tuple[str, int, int], ...] = ()
    """For each kind of lie how many were told and how many found, where the tracker lies."""
