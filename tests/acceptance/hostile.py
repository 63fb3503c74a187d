"""``swarm`` that puts up models which do harm, past its own checks. For tests only.

``HOSTILE`` says what is wrong: ``header``, the file's header lies; ``memory``, the card says that
half as much memory will do as the file is large; ``greedy``, that as much will do, which is too
little for long prompts.
``python -m tests.acceptance.hostile model add ...``.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from client.models import offer
from client.models.offer import Offer, blob_of, prepare, ref_of
from client.sharing import describe
from openswarm.cli import main
from workunits.models.card import ModelCard
from workunits.models.gguf import MAGIC

VARIABLE = "HOSTILE"
LARGE = 2 << 20
"""Bytes of a file with a lying header."""


def spoil(made: Offer, home: Path) -> Offer:
    """An offer with something wrong."""
    length = made.card.file.length
    if memory := {"memory": length // 2, "greedy": length}.get(os.environ[VARIABLE]):
        return _with_card(made, replace(made.card, memory_bytes=memory))
    share, *rest = made.files
    with share.path.open("rb") as stream:
        head = bytearray(stream.read(LARGE))
    at = len(MAGIC) + 4
    head[at : at + 8] = (1 << 60).to_bytes(8, "little")
    path = home / "lying.gguf"
    path.write_bytes(head)
    share = describe(path)
    return _with_card(replace(made, files=(share, *rest)), replace(made.card, file=ref_of(share)))


def _with_card(made: Offer, card: ModelCard) -> Offer:
    raw = card.encode()
    return replace(made, card=card, raw=raw, ref=blob_of(raw))


def _prepare(config: Any, *arguments: Any) -> Offer:
    return spoil(prepare(config, *arguments), config.home)


if __name__ == "__main__":
    offer.prepare = _prepare  # type: ignore[assignment]
    main()
