"""The ``[model]`` table of a job file: prompts that a language model answers, one a unit.

::

    [model]
    name = "smollm2"                 # as `swarm model list` has it; or:
    file = "model.gguf"              # or a package of PyPI, with engine and image
    prompts = "prompts.txt"          # one a line; or a .csv, or a .jsonl file
    column = "question"              # of a .csv or a .jsonl file; default "prompt"
    system = "Answer in one word."   # goes before each prompt
    chat = true                      # false: the model goes on with the text as it stands
    max_tokens = 128                 # of one answer
    temperature = 0.7                # 0, the default, takes the likeliest token each time
    top_p = 0.9
    top_k = 40
    repetition = 1.0
    seed = 1                         # the request in line n has seed + n
    form = "json"                    # or the path of a JSON schema
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from client.disk import replace_file
from client.jobs.files import JobFiles
from client.jobs.prompts import Prompt, read_prompts
from client.jobs.quantities import format_seconds, format_size, parse_seconds, parse_size
from client.jobs.table import Notes, Table
from client.jobs.verification import read_verification
from workunits.errors import LimitError, SwarmError
from workunits.ids import BlobRef, PeerKey
from workunits.manifest import (
    MAX_CPU_SECONDS,
    MAX_MEMORY,
    MAX_PRICE,
    MIN_MEMORY,
    Limits,
    Manifest,
    Program,
)
from workunits.models.answer import MODEL_FILE, OUTPUT, REQUESTS_FILE
from workunits.models.card import ModelCard, chat_ids, text_ids
from workunits.models.forms import check_form, form_of
from workunits.models.program import COMMAND, Engine, ModelProgram
from workunits.models.request import (
    MAX_CANDIDATES,
    MAX_NEW,
    MAX_SEED,
    NONCE_SIZE,
    THOUSAND,
    Request,
    Sampling,
)
from workunits.models.requests import pack_requests
from workunits.models.template import Message
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.verification import Comparator, Comparison, Policy

MOST = 128
"""Tokens of an answer, unless the job says otherwise."""

CONTEXT_STEP = 256
"""Contexts are multiples of it, as llama.cpp's are, so that jobs that are alike keep a model warm
for each other."""

WALL_SECONDS = 120
THREADS = 4
_MAX_SCHEMA = 64 << 10
_HINT = 'Name a model of `swarm model list`: name = "smollm2".'


@dataclass(frozen=True, slots=True)
class Found:
    """A model, and where its blobs lie if this machine is to serve them."""

    card: ModelCard
    files: Mapping[BlobRef, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Models:
    """Where models come from. ``named`` finds a published one, ``made`` describes a file or a
    package for an engine, in its own or another image; both raise ``SwarmError``. ``folder`` keeps
    the requests of jobs."""

    named: Callable[[str], Found]
    made: Callable[[str, Engine, str], Found]
    folder: Path


@dataclass(frozen=True, slots=True)
class Preview:
    """What is asked: the model's name, prompts, and their tokens in all."""

    model: str
    prompts: int
    tokens: int
    longest: int
    most: int
    first: tuple[str, ...]


def read_model(
    top: Table, name: str, files: JobFiles, notes: Notes, models: Models
) -> tuple[Manifest, Preview, Mapping[BlobRef, Path]] | None:
    """The job that the file describes but for its submitter; None when there were mistakes."""
    table = top.table("model")
    found = _find(table, files, models)
    column, system = table.text("column", ""), table.text("system", "")
    chat = table.flag("chat", True)
    relative = table.text("prompts", hint='For example: prompts = "prompts.txt".')
    path = notes.file.parent / relative
    prompts = read_prompts(path, column, ("model", "prompts"), notes) if relative else []
    most = table.integer("max_tokens", MOST, 1, MAX_NEW)
    seed = table.integer("seed", 0, 0, MAX_SEED // 2)
    sampling = _sampling(table)
    form = _form(table, notes)
    table.end()
    price = top.integer("price", found.card.price if found else 1, 0, MAX_PRICE)
    checks = top.table("verification", optional=True)
    plain = "policy" not in checks
    if "comparator" in checks:
        checks.take("comparator")
        checks.wrong("comparator", "is the model's own: its answers are compared token by token")
    limits = _limits(top.table("limits", optional=True), found, most)
    policy, _, demands, ringers = read_verification(checks, limits)
    if ringers:
        checks.wrong("ringers", "are not for jobs that ask a model")
    top.end(
        dict.fromkeys(("outputs", "program", "inputs", "parameters"), "[model] is in its place.")
    )
    if found is None or notes:
        return None
    card = found.card
    most = min(most, card.context)
    ids = _encode(card, prompts, system, path, chat, notes)
    if notes:
        return None
    requests = _requests(ids, most, seed, sampling, form)
    packed = _kept(models.folder, requests, notes)
    blob = files.blob(REQUESTS_FILE, str(packed), ("model", "prompts")) if packed else None
    if blob is None:
        return None
    exact = not card.mean_gap
    manifest = Manifest(
        submitter=PeerKey(bytes(32)),
        name=name,
        program=Program(
            card.image.name,
            COMMAND,
            (NamedBlob(MODEL_FILE, card.file),),
            layers=card.image.layers,
            model=ModelProgram(card.engine, _context(card, ids, most), most),
        ),
        parameters=Sweep((Range("request", 0, 1, len(requests)),)),
        inputs=(blob,),
        outputs=(OUTPUT,),
        limits=limits,
        price=price,
        policy=Policy.PAIR if plain else policy,
        comparator=Comparator(
            Comparison.TEXT_MODEL, mean_gap=card.mean_gap, most_gap=card.most_gap
        ),
        nonce=bytes(NONCE_SIZE),
        demands=replace(demands, same_platform=demands.same_platform or exact),
    )
    preview = Preview(
        model=card.name,
        prompts=len(ids),
        tokens=sum(map(len, ids)),
        longest=max(map(len, ids)),
        most=most,
        first=tuple(prompt.messages[-1].content for prompt in prompts[:5]),
    )
    return manifest, preview, found.files


def _find(table: Table, files: JobFiles, models: Models) -> Found | None:
    name, file = table.text("name", ""), table.text("file", "")
    engine, image = table.text("engine", Engine.LLAMA_CPP.value), table.text("image", "")
    if engine not in set(Engine):
        table.wrong("engine", f"must be one of {', '.join(Engine)}")
        return None
    if bool(name) == bool(file):
        table.notes.add(table.path, "a model has a name, or a file, and not both", _HINT)
        return None
    try:
        if name:
            return models.named(name)
        beside = table.notes.file.parent / file
        return models.made(str(beside) if beside.is_file() else file, Engine(engine), image)
    except SwarmError as error:
        table.notes.add_error((*table.path, "name" if name else "file"), error)
    except OSError as error:
        table.notes.add((*table.path, "file"), f"cannot read {file!r}: {error.strerror or error}")
    return None


def _sampling(table: Table) -> Sampling:
    def mille(key: str, default: float, low: float, high: float) -> int:
        value = table.number(key, default)
        if not low <= value <= high:
            table.wrong(key, f"must be from {low:g} to {high:g}")
            return round(default * THOUSAND)
        return round(value * THOUSAND)

    return Sampling(
        temperature=mille("temperature", 0.0, 0.0, 2.0),
        top_p=mille("top_p", 1.0, 0.001, 1.0),
        top_k=table.integer("top_k", 0, 0, MAX_CANDIDATES),
        repetition=mille("repetition", 1.0, 1.0, 2.0),
    )


def _form(table: Table, notes: Notes) -> str:
    said = table.text("form", "")
    if said in ("", "json"):
        return said
    path = notes.file.parent / said
    try:
        if path.stat().st_size > _MAX_SCHEMA:
            raise LimitError(f"{said} has more than {_MAX_SCHEMA:,} bytes")
        form = form_of(json.loads(path.read_text(encoding="utf-8")))
        check_form(form)
    except SwarmError as error:
        notes.add_error((*table.path, "form"), error)
    except (OSError, ValueError, RecursionError) as error:
        hint = 'Say form = "json", or name a file with a JSON schema.'
        notes.add((*table.path, "form"), f"cannot read {said!r}: {error}", hint)
    else:
        return form
    return ""


def _limits(table: Table, found: Found | None, most: int) -> Limits:
    wall = min(WALL_SECONDS + most, MAX_CPU_SECONDS)
    memory = found.card.memory_bytes if found else MIN_MEMORY
    wall = table.quantity("wall", wall, 1, MAX_CPU_SECONDS, parse_seconds, format_seconds)
    limits = Limits(
        cpu_seconds=table.quantity(
            "cpu", min(THREADS * wall, MAX_CPU_SECONDS), 1, MAX_CPU_SECONDS,
            parse_seconds, format_seconds,
        ),
        wall_seconds=wall,
        memory_bytes=table.quantity(
            "memory", min(max(memory, MIN_MEMORY), MAX_MEMORY), MIN_MEMORY, MAX_MEMORY,
            parse_size, format_size,
        ),
        output_bytes=4 * most + 256,
    )  # fmt: skip
    table.end()
    return limits


def _encode(
    card: ModelCard, prompts: list[Prompt], system: str, path: Path, chat: bool, notes: Notes
) -> list[tuple[int, ...]]:
    """The tokens of each prompt; what does not fit is noted, with its line."""
    before = (Message("system", system),) if system else ()
    found: list[tuple[int, ...]] = []
    for prompt in prompts:
        try:
            if chat:
                ids = chat_ids(card, [*before, *prompt.messages])
            else:
                ids = text_ids(card, "\n".join((system, *_texts(prompt))).lstrip("\n"))
        except SwarmError as error:
            notes.add_at(path, prompt.line, error.message, error.hint)
            break
        if len(ids) >= card.context:
            notes.add_at(
                path,
                prompt.line,
                f"{len(ids):,} tokens, and the model's context is {card.context:,}",
                "Shorten the prompt, or take a model with a longer context.",
            )
        found.append(ids)
    return found


def _texts(prompt: Prompt) -> list[str]:
    return [message.content for message in prompt.messages]


def _context(card: ModelCard, ids: list[tuple[int, ...]], most: int) -> int:
    """The context that the longest prompt and its answer need: what is set aside grows with it."""
    needed = max(map(len, ids)) + most
    return min(card.context, -(-needed // CONTEXT_STEP) * CONTEXT_STEP)


def _requests(
    ids: list[tuple[int, ...]], most: int, seed: int, sampling: Sampling, form: str
) -> list[Request]:
    nonce = bytes(NONCE_SIZE)
    return [
        Request(prompt, most, seed + at, nonce, sampling, form) for at, prompt in enumerate(ids)
    ]


def _kept(folder: Path, requests: list[Request], notes: Notes) -> Path | None:
    """The file of ``requests`` with random nonces: the same file for the same requests, so that
    what is served later is what was submitted."""
    try:
        name = hashlib.sha256(pack_requests(requests)).hexdigest()
        path = folder / f"{name}.requests"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            secret = [replace(each, nonce=secrets.token_bytes(NONCE_SIZE)) for each in requests]
            replace_file(path, pack_requests(secret))
    except SwarmError as error:
        notes.add_error(("model", "prompts"), error)
        return None
    except OSError as error:
        notes.add(("model", "prompts"), f"cannot write to {folder}: {error.strerror or error}")
        return None
    return path
