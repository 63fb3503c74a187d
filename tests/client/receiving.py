"""A blob that arrives in pieces."""

from random import Random

from client.incoming import Incoming
from workunits.metainfo import Hasher, Metainfo
from workunits.torrents import of_blob, piece_root


def info_of(data: bytes) -> Metainfo:
    """The metainfo of the blob with this content."""
    hasher = Hasher(len(data))
    hasher.update(data)
    return hasher.finish().info


DATA = Random(5).randbytes(700_000)
INFO = info_of(DATA)


def piece_of(data: bytes, info: Metainfo, piece: int) -> bytes:
    """The bytes of a piece."""
    return data[piece * info.piece_length : (piece + 1) * info.piece_length]


def receive(incoming: Incoming, *pieces: int, data: bytes = DATA) -> None:
    """These pieces come, and are verified."""
    info = incoming.info
    for piece in pieces:
        part = piece_of(data, info, piece)
        incoming.write(piece * info.piece_length, part)
        incoming.keep(piece, piece_root(part, of_blob(info), piece))
