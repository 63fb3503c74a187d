"""Torrents that libtorrent is given again: with metainfo that came later, or after it gave up."""

import asyncio
from collections.abc import Callable
from typing import Any

from client.peers.native_member import NativeMember
from client.peers.session import Session
from workunits.errors import LocalError, SwarmError

RENEWALS = 5
"""How often libtorrent may begin again with a torrent that it gave up."""

FLUSH_SECONDS = 5.0
"""How long libtorrent may take to put on disk what it has of a torrent."""


class Renewal:
    """Adds torrents to a session, and adds them again."""

    def __init__(self, session: Session, spawn: Callable[..., None]) -> None:
        """``spawn(work, *args, member=member)`` runs ``work(*args)`` until ``member`` is left."""
        self._session = session
        self._spawn = spawn

    def admit(self, params: Any) -> Any:
        """Give libtorrent a torrent; returns its handle. Raises ``LocalError``."""
        try:
            return self._session.add(params)
        except RuntimeError as error:
            raise LocalError(
                f"libtorrent does not take the torrent: {error}", hint="Use the engine aiortc."
            ) from None

    def replace(self, member: NativeMember) -> None:
        """libtorrent takes metainfo that no peer gave it at the start only."""
        self._session.remove(member.handle)
        member.renew(self.admit)

    def renew(self, member: NativeMember, error: SwarmError) -> None:
        """libtorrent gave up: have it begin again, or end the download with ``error``."""
        if member.renewing:
            return
        if member.storage is None or member.ended.is_set() or member.renewals == RENEWALS:
            member.fail(error)
            return
        member.renewals += 1
        member.renewing = True
        # It forgets pieces that it has not written yet.
        member.fresh.clear()
        member.flushing.clear()
        self._spawn(self._renew, member, error, member=member)

    async def _renew(self, member: NativeMember, error: SwarmError) -> None:
        """Once it is replaced, nothing may be written that came before."""
        flushed = member.ask("flushed")
        member.handle.flush_cache()
        await asyncio.wait([flushed], timeout=FLUSH_SECONDS)
        try:
            if not flushed.done():
                raise error
            self.replace(member)
        except SwarmError as why:
            member.fail(why)
        member.renewing = False
