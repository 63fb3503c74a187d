"""How a job wants its results checked: policy, comparison, and what it demands of peers."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from workunits.canonical import Fields
from workunits.errors import MalformedError
from workunits.names import plain_text

MAX_SETTINGS = 16
MAX_SETTING = 10**9
MAX_REPUTATION = 10_000
MAX_COMPARE = 16
MAX_ARGUMENT = 4096
MAX_GAP = 10**6
HASH_SIZE = 32
_Choice = TypeVar("_Choice", bound=StrEnum)


class Policy(StrEnum):
    """How much checking a job wants; ``validators.settings`` has the numbers of each."""

    ECONOMY = "economy"
    STRICT = "strict"
    PAIR = "pair"
    TRUSTED = "trusted"


class Comparison(StrEnum):
    """When two results count as the same."""

    EXACT = "exact"
    NUMERIC = "numeric"
    PROGRAM = "program"
    TEXT_MODEL = "text-model"


@dataclass(frozen=True, slots=True)
class Comparator:
    """How results are compared. Tolerances matter to ``numeric`` only, ``command`` to ``program``,
    gaps to ``text-model``.

    The command runs in the job's image, beside the program's files; ``{a}`` and ``{b}`` are the
    folders of the two results. It ends with 0 when they are the same, and with 1 when not.

    A gap is how far a claimed token's logit is below the best one, in thousandths. With both 0
    every token must be what the pinned engine gives; otherwise an answer stands if neither the mean
    nor the largest gap is over its bound.
    """

    kind: Comparison = Comparison.EXACT
    rtol: float = 0.0
    atol: float = 0.0
    command: tuple[str, ...] = ()
    mean_gap: int = 0
    most_gap: int = 0

    @property
    def by_digest(self) -> bool:
        """Whether results are the same only if their digests are, so that commitments tell."""
        return self.kind in (Comparison.EXACT, Comparison.TEXT_MODEL)

    @property
    def is_repeatable(self) -> bool:
        """Whether all honest executions have one digest, so that a commitment to another is a lie.

        Under margins only who checks a claim commits to what it claims.
        """
        return self.by_digest and not self.by_margin

    @property
    def by_margin(self) -> bool:
        """Whether a claimed answer is judged by its gaps."""
        return self.mean_gap > 0 or self.most_gap > 0

    def value(self) -> dict[str, object]:
        value: dict[str, object] = {"kind": self.kind.value}
        if self.kind is Comparison.NUMERIC:
            value |= {"atol": repr(self.atol), "rtol": repr(self.rtol)}
        if self.kind is Comparison.PROGRAM:
            value["command"] = list(self.command)
        if self.kind is Comparison.TEXT_MODEL:
            value |= {"mean_gap": self.mean_gap, "most_gap": self.most_gap}
        return value

    @classmethod
    def read(cls, fields: Fields) -> "Comparator":
        kind = member(Comparison, fields.text("kind", limit=20), "comparator")
        rtol = atol = 0.0
        command: tuple[str, ...] = ()
        if kind is Comparison.NUMERIC:
            rtol, atol = (_decimal(fields.text(key, limit=30), key) for key in ("rtol", "atol"))
        if kind is Comparison.PROGRAM:
            command = fields.texts("command", count=MAX_COMPARE, limit=MAX_ARGUMENT)
            for argument in command:
                plain_text(argument, "the comparator's command")
            if not command or not command[0]:
                raise MalformedError("the comparator's command is empty")
        mean_gap = most_gap = 0
        if kind is Comparison.TEXT_MODEL:
            mean_gap, most_gap = (fields.integer(k, 0, MAX_GAP) for k in ("mean_gap", "most_gap"))
            if (mean_gap > 0) != (most_gap > 0):
                raise MalformedError("both gaps of a comparator are 0, or neither is")
        fields.end()
        return cls(kind, rtol, atol, command, mean_gap, most_gap)


@dataclass(frozen=True, slots=True)
class Demands:
    """What a job asks of verification beyond its policy.

    ``settings`` replace numbers of the policy, by name, sorted. With ``same_platform`` all
    executions of one unit are on one class of machines. ``reputation`` is how many verified units
    of this kind of work a peer must have. ``ringers`` is the hash of a list of units whose answers
    the submitter knows (``workunits.ringers``); empty when there is none.
    """

    settings: tuple[tuple[str, int], ...] = ()
    same_platform: bool = False
    reputation: int = 0
    ringers: bytes = b""

    def value(self) -> dict[str, object]:
        return {
            "platform": int(self.same_platform),
            "reputation": self.reputation,
            "ringers": self.ringers,
            "settings": dict(self.settings),
        }

    @classmethod
    def read(cls, fields: Fields) -> "Demands":
        same_platform = fields.flag("platform")
        reputation = fields.integer("reputation", 0, MAX_REPUTATION)
        ringers = fields.octets("ringers", limit=HASH_SIZE)
        if len(ringers) not in (0, HASH_SIZE):
            raise MalformedError(f"manifest: ringers is a hash of {HASH_SIZE} bytes, or empty")
        group = fields.group("settings")
        names = group.keys()
        if len(names) > MAX_SETTINGS:
            raise MalformedError(f"manifest: more than {MAX_SETTINGS} settings")
        settings = tuple((name, group.integer(name, 0, MAX_SETTING)) for name in names)
        group.end()
        fields.end()
        return cls(settings, same_platform, reputation, ringers)


def member(kind: type[_Choice], text: str, what: str) -> _Choice:
    """The member of ``kind`` with the value ``text``. Raises ``MalformedError``."""
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(each.value for each in kind)
        raise MalformedError(f"unknown {what} {text!r}", hint=f"Known: {known}.") from None


def _decimal(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise MalformedError(f"{what} must be a number: {text!r}") from None
