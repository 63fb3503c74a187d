"""Cards of models: from the tracker, checked against their hashes, and kept for later."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from client.config import Config
from client.disk import replace_file
from client.jobs.model import Found, Models
from client.models.offer import MODELS, Say, Wishes, blob_of, layers_of, prepare, ref_of
from client.models.view import ModelView
from client.tracker_api import TrackerApi
from workunits.errors import LimitError, MalformedError, SwarmError, UnavailableError
from workunits.ids import BlobRef
from workunits.models.card import MAX_CARD, ModelCard
from workunits.models.program import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUESTS = "requests"
_CARDS = "cards"


async def find_model(tracker: TrackerApi, name: str) -> ModelView:
    """The model that the tracker has under ``name``. Raises ``UnavailableError``."""
    models = await tracker.models()
    for each in models:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in models[:20])
    raise UnavailableError(
        f"no model here is called {name[:100]!r}",
        hint=f"There are: {known}." if known else "None was put up yet; see `swarm model add`.",
    )


async def fetch_card(tracker: TrackerApi, view: ModelView) -> ModelCard:
    """The card of a model. Raises ``MalformedError`` when it is not the one that is named."""
    if view.card.length > MAX_CARD:
        raise LimitError(f"the card of {view.name} has {view.card.length:,} bytes")
    raw = bytearray()
    async for chunk in tracker.blob(view.card):
        raw += chunk
    if blob_of(bytes(raw)) != view.card:
        raise MalformedError(f"the tracker gave another card than that of {view.name}")
    card = await asyncio.to_thread(ModelCard.parse, bytes(raw))
    if card.file != view.file:
        raise MalformedError(f"the tracker names another file than the card of {view.name}")
    return card


def keep(config: Config, card: ModelCard) -> None:
    """Remember a card, by the file that it is of. What fails is let be."""
    path = _place(config, card.file)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, card.encode())


def remembered(config: Config, file: BlobRef) -> ModelCard | None:
    """The card of the model ``file``, if it was kept."""
    try:
        card = ModelCard.parse(_place(config, file).read_bytes())
    except (OSError, SwarmError):
        return None
    return card if card.file == file else None


async def card_of(config: Config, tracker: TrackerApi, file: BlobRef) -> ModelCard | None:
    """A card of the model ``file``: kept here, or of a model that the tracker has."""
    known = await asyncio.to_thread(remembered, config, file)
    if known is not None:
        return known
    for view in await tracker.models():
        if view.file == file:
            card = await fetch_card(tracker, view)
            await asyncio.to_thread(keep, config, card)
            return card
    return None


def models_of(config: Config, say: Say) -> Models:
    """Where the models of job files come from. For code that is not on an event loop, or may block
    it: the tracker is asked in a thread with a loop of its own."""

    async def ask(name: str) -> ModelCard:
        async with TrackerApi.connect(config.tracker) as tracker:
            return await fetch_card(tracker, await find_model(tracker, name))

    def named(name: str) -> Found:
        with ThreadPoolExecutor(1) as thread:
            card = thread.submit(lambda: asyncio.run(ask(name))).result()
        keep(config, card)
        return Found(card)

    def layers(engine: Engine, image: str) -> "tuple[str, Sequence[tuple[bytes, Path]]]":
        return layers_of(config, engine, image, say)

    def made(source: str, engine: Engine, image: str) -> Found:
        offer = prepare(config, source, Wishes(engine, image), layers, say)
        keep(config, offer.card)
        return Found(offer.card, {ref_of(each): each.path for each in offer.files})

    return Models(named, made, config.cache / MODELS / REQUESTS)


def _place(config: Config, file: BlobRef) -> Path:
    return config.cache / MODELS / _CARDS / f"{file.v2.hex()}.card"
