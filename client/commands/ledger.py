"""``swarm ledger``: check every credit that was ever paid; and ``swarm transfer``."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from client.jobs.quantities import format_size, plural
from workunits.errors import LocalError
from workunits.ids import PeerKey, parse_hash, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from client.ledger import Report, Verification

CHUNK = 1 << 18


@click.group()
def ledger() -> None:
    """The tracker's books, as a log that anyone can check."""


@command(
    examples=(
        "swarm ledger verify",
        "swarm ledger verify http://tracker.example:8400",
        "swarm ledger verify books.swl --json",
    )
)
@click.argument("source", required=False, metavar="[URL|FILE]")
async def verify(call: Invocation, source: str | None) -> None:
    """Replay the ledger from its first entry, and trust nobody.

    Checks every signature, move, commitment and verdict, that the tracker signed exactly these
    entries, and that they go on from what it signed when you looked before. The first entry that
    is wrong is named; the exit status is 0 only if there is none.
    """
    from client.ledger import Seen, Verification

    verification = Verification(Seen(call.config.home))
    chunks = _file(Path(source)) if source and "://" not in source else _download(call, source)
    with _progress(call, verification) as show:
        async for chunk in chunks:
            verification.feed(chunk)
            show()
        report = verification.end()
    _show(call, report)


@command(examples=("swarm ledger export books.swl",))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@option("--force", is_flag=True, help="Replace FILE if it exists.")
async def export(call: Invocation, file: Path, force: bool) -> None:
    """Write the whole ledger to FILE.

    `swarm ledger verify FILE` needs nothing else.
    """
    if file.exists() and not force:
        raise LocalError(f"{file} exists already", hint="Choose another name, or add --force.")
    spare = file.with_name(f".{file.name}.part")
    size = 0
    try:
        with spare.open("wb") as out:
            async for chunk in _download(call, None):
                size += out.write(chunk)
        spare.replace(file)
    except OSError as error:
        raise LocalError(
            f"cannot write {file}: {error.strerror}", hint="Check the folder and its disk."
        ) from None
    finally:
        spare.unlink(missing_ok=True)
    if call.json:
        terminal.show_json({"file": file, "bytes": size})
    else:
        call.note(f"{file}: {format_size(size)}; check it with `swarm ledger verify {file}`")


@command(examples=("swarm transfer 9c41d2... 50",), key=True)
@click.argument("account")
@click.argument("amount", type=click.IntRange(1))
async def transfer(call: Invocation, account: str, amount: int) -> None:
    """Pay AMOUNT of your credits to ACCOUNT, a key of 64 hex digits."""
    import secrets

    from client.tracker_api import now
    from workunits.statements import Pay, Statement

    target = PeerKey(parse_hash(account, "ACCOUNT"))
    identity = call.identity()
    statement = Statement.sign(
        identity, Pay(target, amount), time=now(), nonce=secrets.token_bytes(16)
    )
    async with call.tracker() as tracker:
        await tracker.state(statement)
        view = await tracker.account(identity.key)
    if call.json:
        terminal.show_json(view)
    else:
        click.echo(
            f"{plural(amount, 'credit')} paid to {short(target)}; "
            f"{plural(view.balance, 'credit')} left"
        )


@command(
    examples=("swarm ledger checkpoint > mine", "swarm ledger checkpoint --cosign > mine"),
    key=True,
)
@option("--cosign", is_flag=True, help="Sign it with your key, as a witness.")
async def checkpoint(call: Invocation, cosign: bool) -> None:
    """Print what the tracker signed of its ledger.

    It must go on from what you saw before, and is remembered. Give it to others: they hold it
    against what they saw with `swarm ledger compare`.
    """
    from client.forks import hold_against
    from client.tracker_api import now
    from validators.witness import Witness

    async with call.tracker() as tracker:
        signed = await tracker.checkpoint()
        met = await hold_against(call.config.home, signed, (tracker,))
        if cosign:
            signed = Witness(met.tracker, signed).cosign(call.identity(), now())
            await tracker.cosign(signed)
    note = signed.encode().decode()
    if call.json:
        head = {"entries": signed.checkpoint.size, "root": signed.checkpoint.root}
        terminal.show_json({"tracker": met.tracker, **head, "note": note})
    else:
        click.echo(note, nl=False)


@command(
    examples=(
        "swarm ledger compare theirs",
        "swarm ledger compare http://tracker.example:8400",
        "ssh friend swarm ledger checkpoint | swarm ledger compare -",
    )
)
@click.argument("source", metavar="FILE|URL|-")
async def compare(call: Invocation, source: str) -> None:
    """Hold what others saw of the ledger against what you saw.

    FILE is what `swarm ledger checkpoint` printed for somebody else, what `swarm ledger export`
    wrote, or evidence of a fork; URL is where another tracker shows the same ledger. If the two
    are not of one history, evidence is written to a file that anybody can check with this same
    command. The exit status is 0 only if they are.
    """
    from client.forks import hold_against, parse
    from client.tracker_api import TrackerApi

    async with call.tracker() as tracker:
        if "://" in source:
            async with TrackerApi.connect(source) as other:
                theirs = await other.checkpoint()
                met = await hold_against(call.config.home, theirs, (tracker, other))
                for each in await other.witnessed():
                    await hold_against(call.config.home, each, (tracker, other))
        else:
            met = await hold_against(call.config.home, parse(_start(source)), (tracker,))
    if call.json:
        terminal.show_json(met)
    else:
        entries = plural(met.yours, "entry", "entries")
        click.echo(f"one history: you saw {entries} of it, they saw {met.theirs:,}")


for each, name in (
    (verify, "verify"),
    (export, "export"),
    (checkpoint, "checkpoint"),
    (compare, "compare"),
):
    ledger.add_command(each, name)


async def _download(call: Invocation, url: str | None) -> AsyncIterator[bytes]:
    from client.tracker_api import TrackerApi

    async with TrackerApi.connect(url or call.config.tracker) as tracker:
        async for chunk in tracker.export():
            yield chunk


def _start(source: str) -> bytes:
    """As much of a file, or of standard input, as a checkpoint or evidence can have."""
    from client.forks import MAX_SOURCE

    if source == "-":
        return sys.stdin.buffer.read(MAX_SOURCE)
    try:
        with Path(source).open("rb") as file:
            return file.read(MAX_SOURCE)
    except OSError as error:
        raise LocalError(
            f"cannot read {source}: {error.strerror}",
            hint="Name a file that `swarm ledger checkpoint` printed, or the address of a tracker.",
        ) from None


async def _file(path: Path) -> AsyncIterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise LocalError(
            f"cannot read {path}: {error.strerror}",
            hint="Name a file that `swarm ledger export` wrote, or the address of a tracker.",
        ) from None


@contextmanager
def _progress(call: Invocation, verification: "Verification") -> "Iterator[Callable[[], None]]":
    console = terminal.console()
    if call.json or not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("verifying", total=None)

        def show() -> None:
            if verification.signed and verification.audit:
                size = verification.signed.checkpoint.size
                progress.update(task, total=size, completed=verification.audit.size)

        yield show


def _show(call: Invocation, report: "Report") -> None:
    if call.json:
        terminal.show_json(report)
        return
    terminal.show_facts(
        {
            "tracker": report.tracker.hex(),
            "entries": report.entries,
            "root": report.root.hex(),
            "minted": plural(report.minted, "credit"),
            **{f"  {kind}": count for kind, count in report.kinds.items()},
        }
    )
    if report.on_trust:
        call.note(
            f"{plural(report.on_trust, 'verdict')} over numeric results rest on the tracker's word"
        )
    click.echo("the ledger holds: every signature, every move, every verdict, every root")
