"""What is put up when a model is published: its file, its image, its card, all of them blobs."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from client.config import Config
from client.hashes import Hashes
from client.models import package
from client.models.convert import convert
from client.sharing import Shared, describe
from workunits.errors import LimitError, LocalError, MalformedError, UnavailableError
from workunits.ids import BlobRef
from workunits.images import Image, Layer
from workunits.metainfo import Hasher
from workunits.models.card import ModelCard
from workunits.models.gguf import Gguf, read_header
from workunits.models.program import Engine
from workunits.models.vocabulary import Vocabulary

Say = Callable[[str], None]
Watch = Callable[[int, int], None]
MODELS = "models"
"""Folder of the cache."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person says of a model beside its file. ``template`` replaces the file's own; gaps
    are thousandths of a logit, 0 for exact comparison."""

    engine: Engine
    image: str = ""
    name: str = ""
    context: int = 0
    price: int = 1
    gaps: tuple[int, int] = (0, 0)
    template: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A card, and the files that it names."""

    card: ModelCard
    raw: bytes
    ref: BlobRef
    files: tuple[Shared, ...]


def prepare(
    config: Config,
    model: str,
    wishes: Wishes,
    layers: Callable[[Engine, str], tuple[str, Sequence[tuple[bytes, Path]]]],
    say: Say,
    watch: Watch = lambda done, total: None,
) -> Offer:
    """Read the model that ``model`` names, a file or a package, and make its card.

    ``layers`` gives name and layers of the image of an engine, made if need be. Blocks. Raises
    ``MalformedError`` or ``LimitError`` for a file that no engine should see, ``UnavailableError``
    for what is not to be had. What ``watch`` raises ends it.
    """
    path = locate(config, model, say)
    original = read_named(path)
    vocabulary = None
    if wishes.engine is Engine.CTRANSFORMERS:
        vocabulary = _alone(Vocabulary.of(original))
        path = _converted(config, path, original, say, watch)
    gguf = read_header(path)
    hashes = Hashes(config.cache / "hashes")
    file = describe(path, hashes, watch=watch)
    # Before the image is built, which may take minutes.
    Vocabulary.of(original)
    image, tars = layers(wishes.engine, wishes.image)
    shared = [(diff, describe(tar, hashes)) for diff, tar in tars]
    card = ModelCard.of(
        gguf,
        ref_of(file),
        engine=wishes.engine,
        image=Image(image, tuple(Layer(diff, ref_of(each)) for diff, each in shared)),
        name=wishes.name,
        context=wishes.context,
        price=wishes.price,
        gaps=wishes.gaps,
        template=wishes.template,
        vocabulary=vocabulary,
    )
    raw = card.encode()
    return Offer(card, raw, blob_of(raw), (file, *(each for _, each in shared)))


def locate(config: Config, model: str, say: Say) -> Path:
    """The file that ``model`` names, itself or by a package. Raises ``UnavailableError``."""
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        raise UnavailableError(f"{model} is a folder", hint="Name the .gguf file that is in it.")
    if "/" in model or model.endswith(package.SUFFIX):
        raise UnavailableError(f"there is no file {model}", hint="Check the path.")
    return package.find(model, config.cache / MODELS, say)


def read_named(path: Path) -> Gguf:
    """The header of a file that a person named. Raises as ``read_header`` does, with its name."""
    try:
        return read_header(path)
    except (MalformedError, LimitError) as error:
        raise type(error)(
            f"{path}: {error.message}",
            hint=error.hint or "The file is damaged, or made for something else: fetch it again.",
        ) from None


def layers_of(
    config: Config, engine: Engine, image: str, say: Say, kernels: str = "pinned"
) -> tuple[str, Sequence[tuple[bytes, Path]]]:
    """Name and layers of the image ``image``, or else of that of ``engine``, made if need be.

    Blocks, for minutes if it must be made. Raises ``UnavailableError`` and ``LocalError``.
    """
    if image:
        from client.jobs import sharing

        found = sharing.layers_of(config, image, say)
        if found is None:
            raise UnavailableError(
                f"the image {image[:19]} is not here",
                hint="See `swarm image list`, or leave --image out.",
            )
        return image, found
    from sandbox.models.build import Kernels, build, content_hash

    made = build(engine, config.images, say, Kernels(kernels))
    return content_hash(made), made


def ref_of(share: Shared) -> BlobRef:
    """The blob that a file is."""
    info = share.document.info
    if info.v1 is None or info.v2 is None or not info.single:
        raise MalformedError(f"{share.path} is no single file")
    return BlobRef(info.v2, info.v1, info.content)


def blob_of(raw: bytes) -> BlobRef:
    """The blob that ``raw`` is."""
    hasher = Hasher(len(raw))
    hasher.update(raw)
    return hasher.finish().info.ref


def _alone(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary as ctransformers uses it: it knows one end of a text only."""
    return replace(vocabulary, ends=frozenset({vocabulary.eos}))


def _converted(config: Config, path: Path, original: Gguf, say: Say, watch: Watch) -> Path:
    """The file that ctransformers reads, which is kept in the cache."""
    share = describe(path, Hashes(config.cache / "hashes"), watch=watch)
    folder = config.cache / MODELS / "ctransformers"
    target = folder / f"{ref_of(share).v2.hex()[:32]}.gguf"
    if target.is_file():
        return target
    say("converting the model for ctransformers")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")  # another process may convert it too
        try:
            convert(path, part, watch)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise LocalError(
            f"{folder}: {error.strerror or error}", hint="Check the disk and try again."
        ) from None
    return target
