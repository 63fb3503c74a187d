"""Passes: what an announce URL says of who announces, where only members may.

``member`` is the key, ``until`` the Unix time at which the pass ends, ``sig`` its signature over
``until`` in decimal digits, a space and the tracker's key: a tracker that saw a pass cannot use it
at another one. Anything that announces for somebody can carry one, because it is only part of an
address: no client has to know of it.
"""

import re
from dataclasses import dataclass, field

from workunits.errors import MalformedError
from workunits.ids import PeerKey, parse_hash
from workunits.signing import SIGNATURE_SIZE, Domain, Identity, verify

MAX_AHEAD = 24 * 3600
"""Seconds for which a pass may be made out: who gets hold of one announces as its member."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
_NAMES = ("member", "until", "sig")
_HINT = "take the address from the tracker's member: member=HEX&until=SECONDS&sig=HEX"


@dataclass(frozen=True, slots=True)
class SignedPass:
    """A pass. ``until`` is Unix seconds; ``check`` says whether ``member`` made it."""

    member: PeerKey
    until: int
    signature: bytes = field(default=b"", repr=False, compare=False)

    @staticmethod
    def query(identity: Identity, until: int, tracker: PeerKey) -> str:
        """The part of a query that is a pass of ``identity`` for the tracker with that key."""
        signature = identity.sign(Domain.ANNOUNCE, _signed(until, tracker))
        return f"member={identity.key.hex()}&until={until}&sig={signature.hex()}"

    @classmethod
    def parse(cls, query: str, tracker: PeerKey) -> "SignedPass | None":
        """The pass for ``tracker`` in the raw query of an address, or ``None`` if it has none.

        Raises ``MalformedError`` for half a pass, and ``SignatureError`` for one that is forged or
        for another tracker.
        """
        signed = cls.read(query)
        if signed is not None:
            signed.check(tracker)
        return signed

    @classmethod
    def read(cls, query: str) -> "SignedPass | None":
        """As ``parse``, for who calls ``check`` later."""
        found: dict[str, str] = {}
        for pair in query.split("&"):
            name, _, value = pair.partition("=")
            if name in _NAMES:
                if name in found:
                    raise MalformedError(f"the pass gives {name} twice", hint=_HINT)
                found[name] = value
        if not found:
            return None
        if len(found) < len(_NAMES):
            raise MalformedError("the pass lacks a part", hint=_HINT)
        until = found["until"]
        if not _NUMBER.fullmatch(until):
            raise MalformedError("the pass must end at a number of seconds", hint=_HINT)
        member = PeerKey(parse_hash(found["member"], "member"))
        return cls(member, int(until), _octets(found["sig"]))

    def check(self, tracker: PeerKey) -> None:
        """Raise ``SignatureError`` unless the member signed it for ``tracker``."""
        verify(self.member, Domain.ANNOUNCE, _signed(self.until, tracker), self.signature)


def _signed(until: int, tracker: PeerKey) -> bytes:
    return b"%d " % until + tracker


def _octets(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != SIGNATURE_SIZE or len(text) != 2 * SIGNATURE_SIZE:
        raise MalformedError(f"sig must be {2 * SIGNATURE_SIZE} hex digits", hint=_HINT)
    return value
