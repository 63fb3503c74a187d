"""The files of a job as magnet links: what ``swarm status JOB --links`` shows."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import click

from client import terminal
from client.commands.invocation import Invocation
from client.jobs.quantities import format_size
from client.participation import announce_urls
from client.tracker_api import TrackerApi, check_url
from client.views import JobView
from workunits.ids import BlobRef
from workunits.links import Target, format_magnet, format_swarm
from workunits.manifest import Manifest


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file that a job reads, or that a unit of it gave."""

    kind: str
    """``program``, ``input``, ``layer`` or ``result``."""

    name: str
    ref: BlobRef
    unit: int | None = None

    @property
    def shown(self) -> str:
        """For people."""
        place = f"result of unit {self.unit}," if self.kind == "result" else self.kind
        return f"{place} {self.name} ({format_size(self.ref.length)})"


async def show_links(call: Invocation, tracker: TrackerApi, view: JobView) -> None:
    """Print a link for each file of ``view``; of results those that are final.

    Links name the tracker's web seed where it has the file. Empty files have no link.
    """
    urls = announce_urls(await tracker.reach(), call.config.tracker)
    base = f"{check_url(call.config.tracker)}/api/v1/blobs"
    stored: dict[BlobRef, bool] = {}
    rows = []
    async for file in _files(tracker, view):
        ref = file.ref
        if ref not in stored:
            stored[ref] = await tracker.has_blob(ref)
        target = Target.of(ref, file.name, urls)
        if stored[ref]:
            target = replace(target, webseeds=(f"{base}/{ref}",))
        if call.json:
            rows.append(_row(file, target))
        else:
            call.note(file.shown)
            click.echo(format_magnet(target))
    if call.json:
        terminal.show_json(rows)


async def _files(tracker: TrackerApi, view: JobView) -> AsyncIterator[JobFile]:
    signed = await tracker.manifest(view.id)
    for file in _given(signed.manifest):
        if file.ref.length:
            yield file
    async for unit in tracker.units(view.id):
        for output in unit.result.outputs if unit.result else ():
            if output.ref.length:
                yield JobFile("result", output.name, output.ref, unit.index)


def _given(manifest: Manifest) -> Iterator[JobFile]:
    program = len(manifest.program.files)
    for at, blob in enumerate(manifest.blobs):
        yield JobFile("program" if at < program else "input", blob.name, blob.ref)
    for layer in manifest.program.layers:
        yield JobFile("layer", f"{layer.diff.hex()}.tar", layer.ref)


def _row(file: JobFile, target: Target) -> dict[str, object]:
    return {
        "kind": file.kind,
        "unit": file.unit,
        "name": file.name,
        "length": file.ref.length,
        "v1": file.ref.v1,
        "v2": file.ref.v2,
        "magnet": format_magnet(target),
        "swarm": format_swarm(target),
    }
