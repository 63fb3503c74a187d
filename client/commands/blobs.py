"""``swarm blobs``: what the blob store of this user holds, and why."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from workunits.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from client.blobs import BlobStore
    from client.inventory import Inventory, Stored

_WHY = 29
"""Characters of the last column, so that a line has at most 80."""


class _Listing(click.Group):
    """A group that lists when it is called without a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See ``click``."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Listing)
def blobs() -> None:
    """Blobs that are kept here: inputs, outputs, images, and parts of what is being fetched."""


@command(examples=("swarm blobs list", "swarm blobs", "swarm blobs --json"), tracker=False)
def list_(call: Invocation) -> None:
    """List the blobs that are kept here.

    `swarm blobs` alone does the same. Works while a volunteer runs. `here` is how much of a blob
    has come; what is not complete is gone on with when it is needed again, for seven days. `why` is
    what keeps a blob from being evicted when room is needed for another one.
    """
    from client.inventory import Inventory
    from client.jobs.quantities import format_size, plural

    found = Inventory.take(call.config.blobs)
    if call.json:
        terminal.show_json(_value(call, found))
        return
    if not found.blobs and not found.parts:
        call.note(f"no blobs in {call.config.blobs}")
    else:
        terminal.show_table(
            ("blob", "size", "here", "last used", "why"),
            (
                (
                    str(each.ref)[:12],
                    format_size(each.ref.length),
                    f"{int(100 * each.share)}%",
                    terminal.date(each.used),
                    _why(each.holds),
                )
                for each in (*found.blobs, *found.parts)
            ),
        )
    count = plural(len(found.blobs), "blob") + (
        f" and {plural(len(found.parts), 'part')}" if found.parts else ""
    )
    room = (
        f" of {format_size(found.quota)}, {format_size(found.free or 0)} free"
        if found.quota is not None
        else ""
    )
    if found.claimed:
        room += f", {format_size(found.claimed)} of it layers of images"
    owner = "in use by a volunteer" if found.running else "not in use"
    call.note(f"{count}, {format_size(found.used)}{room}; {owner}")


@command(
    examples=("swarm blobs evict 3f2a91", "swarm blobs evict --all-unheld"),
    tracker=False,
)
@click.argument("refs", nargs=-1, metavar="[REF]...")
@option("--all-unheld", is_flag=True, help="Everything that nothing holds.")
@option("--partial", is_flag=True, help="What did not come whole.")
@option("--force", is_flag=True, help="Also what is held: jobs may lack it.")
def evict(
    call: Invocation, refs: tuple[str, ...], all_unheld: bool, partial: bool, force: bool
) -> None:
    """Delete blobs, given as REF (the first digits do). No volunteer may be running."""
    from client.jobs.quantities import format_size, plural

    if not (refs or all_unheld or partial):
        raise click.UsageError("name blobs, or say --all-unheld or --partial")
    with _opened(call) as (store, found):
        chosen = {each.ref: each for ref in refs for each in [_find(found, ref)]}
        held = [each for each in chosen.values() if each.holds]
        if held and not force:
            raise LocalError(
                f"blob {str(held[0].ref)[:12]} is held: {', '.join(held[0].holds)}",
                hint="Say --force to delete it all the same; a job may then lack it.",
            )
        for each in (*found.blobs, *found.parts):
            wanted = all_unheld or (partial and each in found.parts)
            if wanted and (force or not each.holds):
                chosen[each.ref] = each
        for ref in chosen:
            store.remove(ref)
    freed = sum(each.kept for each in chosen.values())
    if call.json:
        terminal.show_json({"evicted": list(map(str, chosen)), "freed": freed})
    else:
        call.note(f"{plural(len(chosen), 'blob')} evicted, {format_size(freed)} freed")


@command(examples=("swarm blobs verify", "swarm blobs verify --json"), tracker=False)
def verify(call: Invocation) -> None:
    """Read every blob again, and delete those that are damaged. No volunteer may be running.

    Exit status 1 when there was one.
    """
    from client.inventory import is_intact
    from client.jobs.quantities import format_size, plural

    with _opened(call) as (store, found):
        every = (*found.blobs, *found.parts)
        size = sum(each.kept for each in every)
        call.note(f"reading {format_size(size)}")
        damaged = [each for each in every if not is_intact(call.config.blobs, each)]
        for each in damaged:
            store.remove(each.ref)
    if call.json:
        terminal.show_json(
            {"checked": len(every), "bytes": size, "damaged": [str(each.ref) for each in damaged]}
        )
    else:
        for each in damaged:
            click.echo(f"{each.ref} was damaged and is deleted")
        call.note(f"{plural(len(every), 'blob')} read, {len(damaged)} damaged")
    if damaged:
        raise LocalError(
            f"{plural(len(damaged), 'blob')} damaged, and deleted now",
            hint="Check the disk. What is missing is fetched again when it is needed.",
        )


for each, name in ((list_, "list"), (evict, "evict"), (verify, "verify")):
    blobs.add_command(each, name)


def _value(call: Invocation, found: "Inventory") -> dict[str, object]:
    return {
        "folder": call.config.blobs,
        "quota": found.quota,
        "used": found.used,
        "free": found.free,
        "claimed": found.claimed,
        "running": found.running,
        "blobs": [
            {
                "blob": each.ref.v2,
                "v1": each.ref.v1,
                "size": each.ref.length,
                "kept": each.kept,
                "complete": whole,
                "used": each.used,
                "holds": each.holds,
            }
            for group, whole in ((found.blobs, True), (found.parts, False))
            for each in group
        ],
    }


@contextmanager
def _opened(call: Invocation) -> "Iterator[tuple[BlobStore, Inventory]]":
    """The store, for this process alone."""
    from client.blobs import BlobStore
    from client.disk import InUseError
    from client.inventory import Inventory

    folder = call.config.blobs
    if not folder.is_dir():
        raise LocalError(
            f"there is no blob store at {folder}", hint="Name its folder's parent with --home."
        )
    try:
        store = BlobStore(folder, quota=None)
    except InUseError as error:
        raise InUseError(
            f"a volunteer uses the blob store {folder}",
            hint="Stop it (Ctrl-C, and wait until its work is done), then try again.",
        ) from error
    with store:
        yield store, Inventory.take(folder)


def _find(found: "Inventory", text: str) -> "Stored":
    every = (*found.blobs, *found.parts)
    matching = [each for each in every if str(each.ref).startswith(text.lower())]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise LocalError(f"{len(matching)} blobs begin with {text[:80]}", hint="Give more digits.")
    raise LocalError(f"there is no blob {text[:80]!r}", hint="`swarm blobs` lists them.")


def _why(reasons: "tuple[str, ...]") -> str:
    if not reasons:
        return ""
    more = f" +{len(reasons) - 1}" if len(reasons) > 1 else ""
    text = ", ".join(reasons)
    if len(text) <= _WHY:
        return text
    room = _WHY - len(more)
    first = reasons[0] if len(reasons[0]) <= room else reasons[0][: room - 3] + "..."
    return first + more
