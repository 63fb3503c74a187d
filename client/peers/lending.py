"""Sources of one torrent that have everything and no wire: web seeds."""

from collections.abc import Callable, Hashable

from client.peers import events
from client.peers.layout import Block
from client.peers.picker import Picker

Source = Hashable


class Lending:
    """Who takes part in a download without being a peer."""

    def __init__(
        self,
        picker: Callable[[], Picker | None],
        take: Callable[[Source, events.Received], None],
        clock: Callable[[], float],
    ) -> None:
        """``picker`` is that of the download, while there is one; ``take`` gives a block to it."""
        self._picker = picker
        self._take = take
        self._clock = clock
        self._lent: dict[Source, None] = {}
        self._distrusted: set[Source] = set()

    def lend(self, source: Source) -> None:
        """Let a source take part."""
        self._lent[source] = None
        self._endow(source)

    def begun(self) -> None:
        """There is a picker now."""
        for source in self._lent:
            self._endow(source)

    def borrow(self, source: Source) -> list[Block]:
        """The next blocks for a source to fetch."""
        picker = self._picker()
        return picker.pick(source, self._clock()) if picker is not None else []

    def supply(self, source: Source, block: Block, data: bytes) -> bool:
        """A block from a source; False once it has sent wrong bytes."""
        self._take(source, events.Received(block, data))
        return source not in self._distrusted

    def distrust(self, source: Source) -> None:
        """A source has sent wrong bytes."""
        self._distrusted.add(source)

    def unlend(self, source: Source) -> None:
        """A source takes no more part."""
        self._lent.pop(source, None)
        self._distrusted.discard(source)
        picker = self._picker()
        if picker is not None:
            picker.leave(source)

    def _endow(self, source: Source) -> None:
        picker = self._picker()
        if picker is not None:
            picker.join(source, self._clock())
            picker.has_all(source)
            picker.choke(source, on=False)
