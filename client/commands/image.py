"""``swarm image``: the images that programs run in, by content hash."""

from typing import TYPE_CHECKING, Any

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from client.jobs.quantities import format_size
from workunits.errors import UnavailableError
from workunits.ids import short
from workunits.models.program import Engine

if TYPE_CHECKING:
    from collections.abc import Iterable


@click.group()
def image() -> None:
    """Images that programs run in; they are named by the hash of their content."""


@command(
    examples=("swarm image build", "swarm image build --engine llama.cpp"),
    tracker=False,
)
@option(
    "--engine",
    type=click.Choice([kind.value for kind in Engine]),
    help="An image that runs models, on top of it. llama.cpp is compiled, once, for minutes.",
)
@option("--load/--no-load", default=True, help="Put it into the Docker engine too.")
def build(call: Invocation, engine: str | None, load: bool) -> None:
    """Build the runtime image (Debian with Python) without any registry."""
    from sandbox import engine as docker
    from sandbox import image as images
    from sandbox.models import build as engines

    cache = call.config.images
    if engine is None:
        tars = [images.build(cache, call.note)]
        name = images.tar_hash(tars[0])
    else:
        layers = engines.build(Engine(engine), cache, call.note)
        tars = [path for _, path in layers]
        name = engines.content_hash(layers)
    if load:
        with docker.engine(call.config.engine, call.note, install=False) as found:
            if engine is None:
                images.load(found.url, tars[0], call.note)
            else:
                engines.engine_image(Engine(engine), found.url, cache, call.note)
    if call.json:
        size = sum(tar.stat().st_size for tar in tars)
        terminal.show_json({"image": name, "file": tars[-1], "size": size})
    else:
        click.echo(name)


@command(examples=("swarm image list", "swarm image list --json"), tracker=False)
def list_(call: Invocation) -> None:
    """List the images of the Docker engine with their content hashes."""
    rows = _images(_engine(call))
    if call.json:
        terminal.show_json(rows)
        return
    show_images(rows)


@command(
    examples=("swarm image save debian:bookworm", "swarm image save sha256:9f2c... --json"),
    tracker=False,
)
@click.argument("wanted", metavar="IMAGE")
def save(call: Invocation, wanted: str) -> None:
    """Take an image out of the Docker engine, to share it.

    IMAGE is taken layer by layer; it is a content hash or a name that the engine knows. `swarm
    submit` does the same for a job that names the image by its content hash, and writes its layers
    into the job.
    """
    from client.jobs import sharing
    from workunits.metainfo import hash_stream

    name, layers = sharing.save(call.config, _engine(call), wanted, call.note)
    rows: list[dict[str, Any]] = []
    for diff, path in layers:
        size = path.stat().st_size
        with path.open("rb") as stream:
            ref = hash_stream(stream, size).info.ref
        rows.append({"diff": diff, "v1": ref.v1, "v2": ref.v2, "length": size, "file": path})
    if call.json:
        terminal.show_json({"image": name, "layers": rows})
        return
    click.echo(name)
    show_layers(rows)


def show_images(rows: "Iterable[dict[str, Any]]") -> None:
    """Print images, each with its whole hash, because that is what jobs name it by."""
    for row in rows:
        click.echo(row["image"])
        click.echo(f"    {', '.join((format_size(row['size']), *row['names']))}")


def show_layers(rows: "Iterable[dict[str, Any]]") -> None:
    """Print a table of the layers of an image."""
    terminal.show_table(
        ("layer", "size", "blob"),
        ((short(row["diff"]), format_size(row["length"]), short(row["v2"])) for row in rows),
    )


def _engine(call: Invocation) -> str:
    import os

    from sandbox import engine

    found = engine.find(os.environ, call.config.engine)
    if found is None:
        raise UnavailableError("no Docker engine answers", hint="See `swarm doctor`.")
    return found.url


def _images(url: str) -> list[dict[str, Any]]:
    import docker
    from docker.errors import DockerException, ImageNotFound

    from sandbox import image as images
    from workunits.errors import MalformedError

    rows = []
    try:
        with docker.APIClient(base_url=url, version="auto", timeout=60) as api:
            for entry in api.images():
                try:
                    name = images.hash_of(images.describe(api, entry["Id"]))
                except (MalformedError, ImageNotFound):
                    continue
                rows.append(
                    {
                        "image": name,
                        "size": int(entry.get("Size", 0)),
                        "names": [tag for tag in entry.get("RepoTags") or () if "<" not in tag],
                    }
                )
    except DockerException as error:
        raise UnavailableError(
            f"the Docker engine at {url} failed: {error}", hint="See `swarm doctor`."
        ) from None
    return rows


image.add_command(build, "build")
image.add_command(list_, "list")
image.add_command(save, "save")
