"""How the stream of a torrent falls into pieces and blocks."""

from dataclasses import dataclass
from typing import NamedTuple

from workunits.metainfo import LEAF_SIZE, piece_length_of
from workunits.torrents import TorrentInfo

BLOCK_SIZE = LEAF_SIZE


class Block(NamedTuple):
    """A span inside of one piece; what one request asks for. Offsets and lengths are bytes."""

    piece: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Pieces and blocks. Only the last piece can be short: padding lies between files."""

    length: int
    piece_length: int
    count: int

    @classmethod
    def of(cls, length: int) -> "Layout":
        """The layout of a blob of ``length`` bytes; it follows from that alone."""
        size = piece_length_of(length)
        return cls(length, size, -(-length // size))

    @classmethod
    def of_torrent(cls, info: TorrentInfo) -> "Layout":
        """The layout of any torrent."""
        return cls(info.length, info.piece_length, info.count)

    def size_of(self, piece: int) -> int:
        """Bytes in ``piece``."""
        return min(self.piece_length, self.length - piece * self.piece_length)

    def offset_of(self, block: Block) -> int:
        """Where ``block`` starts in the stream."""
        return block.piece * self.piece_length + block.begin

    def blocks_of(self, piece: int) -> list[Block]:
        """The requests that fetch ``piece``."""
        size = self.size_of(piece)
        return [
            Block(piece, begin, min(BLOCK_SIZE, size - begin))
            for begin in range(0, size, BLOCK_SIZE)
        ]

    def holds(self, block: Block) -> bool:
        """Whether ``block`` lies inside of one piece and is not empty."""
        return (
            0 <= block.piece < self.count
            and block.begin >= 0
            and block.length > 0
            and block.begin + block.length <= self.size_of(block.piece)
        )
