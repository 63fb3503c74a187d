"""Who is a member: keys that the operator admitted, and keys that have an account here."""

import os
from collections.abc import Callable, Iterable
from hashlib import blake2b, sha256
from hmac import compare_digest

from tracker.announce.admission import passkey_of
from tracker.rows import MemberRow
from workunits.ids import PeerKey
from workunits.signing import Domain, Identity

_UNSAID = -1
"""``MemberRow.admitted`` of a key of which the operator said nothing but a passkey."""


def passkey_secret(operator: Identity) -> bytes:
    """The secret of a tracker's passkeys, 32 bytes: it follows from the operator's key."""
    return sha256(operator.sign(Domain.ANNOUNCE, b"passkeys")).digest()


class Directory:
    """All members. ``secret`` is the tracker's, 32 bytes; ``accounted`` says which keys have an
    account and are no cheats; the ``operator`` is always a member."""

    def __init__(
        self,
        secret: bytes,
        rows: Iterable[MemberRow],
        *,
        operator: PeerKey,
        accounted: Callable[[PeerKey], bool],
    ) -> None:
        self._secret = secret
        self._operator = operator
        self._accounted = accounted
        self._rows: dict[PeerKey, MemberRow] = {}
        self._blind = os.urandom(32)
        self._passkeys: dict[bytes, PeerKey] = {}
        for row in rows:
            self._enter(row)

    def __contains__(self, key: PeerKey) -> bool:
        row = self._rows.get(key)
        if row is not None and row.admitted != _UNSAID:
            return bool(row.admitted)
        return bool(row and row.valid) or key == self._operator or self._accounted(key)

    def epoch(self, key: PeerKey) -> int:
        """The number of the passkey of ``key`` that is valid; 0 for none."""
        row = self._rows.get(key)
        return row.valid if row else 0

    def holder(self, passkey: bytes) -> PeerKey | None:
        """Whose valid passkey this is.

        Found by a keyed hash, and compared in constant time: how long it takes says nothing.
        """
        member = self._passkeys.get(self._blinded(passkey))
        if member is None:
            return None
        expected = passkey_of(self._secret, member, self.epoch(member))
        return member if compare_digest(expected, passkey) else None

    def admit(self, key: PeerKey, *, admitted: bool) -> MemberRow:
        """The operator's word on a key, which counts more than an account; the row to write."""
        row = self._rows.get(key, MemberRow(key, _UNSAID, 0, 0))
        return self._enter(row._replace(admitted=int(admitted)))

    def issue(self, key: PeerKey, *, wanted: bool) -> MemberRow:
        """End the passkey of a key, and make the next one if it is ``wanted``; the row to write."""
        row = self._rows.get(key, MemberRow(key, _UNSAID, 0, 0))
        issued = row.issued + wanted
        return self._enter(row._replace(issued=issued, valid=issued if wanted else 0))

    def _enter(self, row: MemberRow) -> MemberRow:
        key = PeerKey(row.account)
        before = self._rows.get(key)
        if before and before.valid:
            old = passkey_of(self._secret, key, before.valid)
            self._passkeys.pop(self._blinded(old), None)
        self._rows[key] = row
        if row.valid:
            self._passkeys[self._blinded(passkey_of(self._secret, key, row.valid))] = key
        return row

    def _blinded(self, passkey: bytes) -> bytes:
        return blake2b(passkey, key=self._blind, digest_size=16).digest()
