"""What libtorrent tells of a torrent, and what follows from it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import libtorrent

from client.blobs import BlobStore
from client.peers.native_member import NativeMember
from workunits.errors import LocalError, MalformedError, SwarmError
from workunits.metainfo import parse_info
from workunits.torrents import parse_torrent_info

log = logging.getLogger(__name__)


class NativeAlerts:
    """Hears the alerts of all torrents of a ``NativeSwarm``."""

    def __init__(
        self,
        store: BlobStore,
        members: Mapping[bytes, NativeMember],
        *,
        clock: Callable[[], float],
        leave: Callable[[NativeMember], None],
        renew: Callable[[NativeMember, SwarmError], None],
    ) -> None:
        """``members`` are by info-hash, and change; ``leave`` ends one, ``renew`` has libtorrent
        begin again with one, or ends it with the error."""
        self._store = store
        self._members = members
        self._clock = clock
        self._leave = leave
        self._renew = renew

    def hear(self, alert: Any) -> None:
        """Take an alert."""
        if not isinstance(alert, libtorrent.torrent_alert):
            return
        hashes = alert.handle.info_hashes()
        member = self._members.get(hashes.v1.to_bytes()) if hashes.has_v1() else None
        if member is None and hashes.has_v2():
            member = self._members.get(hashes.v2.to_bytes()[:20])
        if member is None or member.handle != alert.handle:
            return
        match alert:
            case libtorrent.piece_finished_alert():
                member.progressed = self._clock()
                member.fresh.add(alert.piece_index)
                member.answer(f"piece {alert.piece_index}", True)
            case libtorrent.hash_failed_alert():
                member.answer(f"piece {alert.piece_index}", False)
            case libtorrent.metadata_received_alert():
                self._know(member)
            case libtorrent.torrent_finished_alert() if member.storage is not None:
                member.ended.set()
            case libtorrent.save_resume_data_alert():
                member.answer("resume", libtorrent.write_resume_data(alert.params))
            case libtorrent.save_resume_data_failed_alert():
                member.answer("resume", {})
            case libtorrent.cache_flushed_alert():
                self._flushed(member)
            case libtorrent.storage_moved_alert():
                member.answer("moved", None)
            case libtorrent.storage_moved_failed_alert():
                member.answer("moved", LocalError(alert.message()))
            case libtorrent.torrent_error_alert() | libtorrent.file_error_alert():
                self._broken(member, alert)

    def _know(self, member: NativeMember) -> None:
        """The info dictionary came from a peer; libtorrent has checked its hashes."""
        raw = bytes(member.handle.torrent_file().info_section())
        try:
            if member.ref is None:
                member.info = parse_torrent_info(raw)
                member.answer("metadata", member.info)
            elif member.blob is None:
                member.blob = parse_info(raw, member.ref)
                member.storage = self._store.begin(member.blob)
        except SwarmError as error:
            member.fail(error)

    def _flushed(self, member: NativeMember) -> None:
        """What libtorrent held of some pieces is written."""
        pieces, member.flushing = member.flushing, set()
        if member.storage is not None and not member.ended.is_set():
            try:
                for piece in pieces:
                    member.storage.keep(piece, b"")
                    member.sure.add(piece)
            except SwarmError as error:
                member.fail(error)
        member.answer("flushed", None)

    def _broken(self, member: NativeMember, alert: Any) -> None:
        reason = alert.error.message()
        if member.seeding:
            log.warning("torrent %s is served no longer: %s", member.name.hex(), reason)
            self._leave(member)
        elif alert.error.category().name() == "libtorrent":
            # Its own complaints are about the torrent: its two halves name different bytes. Or a
            # peer sent wrong ones: it keeps their SHA-256 until it gets right ones, and when the
            # last other piece comes before those, all of them do not lead to the root.
            self._renew(member, MalformedError(f"the torrent is no good: {reason}"))
        else:
            member.fail(LocalError(f"libtorrent cannot go on: {reason}", hint="Check the disk."))
