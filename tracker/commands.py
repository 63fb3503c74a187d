"""``swarm tracker``: run a tracker, mint credits and name referees as its operator."""

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from tracker.address import ADDRESS_FILE, KEY_FILE, Address, operator_identity
from tracker.garbage import collect_rarely
from workunits.errors import LocalError, MalformedError, RefusedError, UnavailableError
from workunits.ids import PeerKey, parse_hash
from workunits.statements import Grant, Statement
from workunits.wire.handshake import Vouch

_T = TypeVar("_T")
DEFAULT_DATA = Path("~/.local/share/openswarm/tracker")
_data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATA,
    envvar="SWARM_TRACKER_DATA",
    show_default=True,
    show_envvar=True,
    help="Directory of the tracker's database, key and blobs.",
)


class ListenAddress(click.ParamType[Address]):
    """``HOST:PORT``; IPv6 hosts in brackets."""

    name = "HOST:PORT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        """Parse the address."""
        if isinstance(value, Address):
            return value
        host, colon, port = str(value).rpartition(":")
        if not colon or not port.isdecimal() or not 0 <= int(port) < 65536:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return Address(host.strip("[]") or "127.0.0.1", int(port))


@click.group()
def tracker() -> None:
    """Run a tracker, mint credits and name referees as its operator.

    \b
    Example:
      swarm tracker serve --listen 0.0.0.0:8400
    """


@tracker.command("serve")
@_data
@click.option(
    "--listen",
    type=ListenAddress(),
    default="127.0.0.1:8400",
    envvar="SWARM_TRACKER_LISTEN",
    show_default=True,
    show_envvar=True,
    help="Address to listen on; port 0 takes a free one.",
)
@click.option("--verbose", is_flag=True, help="Log every peer that comes and goes.")
def serve_command(data: Path, listen: Address, verbose: bool) -> None:
    """Serve announce, work, REST and the status page until Ctrl-C.

    What was acknowledged is on disk: a tracker that is killed and started again goes on.

    \b
    Example:
      swarm tracker serve --data ./tracker --listen 127.0.0.1:8400
    """
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o077)
    collect_rarely()
    _run(_serve(data.expanduser(), listen))


@tracker.command()
@click.argument("key")
@click.argument("amount", type=click.IntRange(1))
@_data
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def grant(key: str, amount: int, data: Path, as_json: bool) -> None:
    """Mint AMOUNT credits for the account KEY (64 hex digits, see 'swarm key show').

    Signed with the key in the tracker's --data directory; the tracker must be running.

    \b
    Example:
      swarm tracker grant $(swarm key show) 1000
    """
    account = PeerKey(parse_hash(key, "KEY"))
    balance = _run(_grant(data.expanduser(), Grant(account, amount)))
    if as_json:
        click.echo(json.dumps({"account": key, "amount": amount, "balance": balance}))
    else:
        click.echo(f"Minted {amount:,} credits for {key[:12]}; it has {balance:,} now.")


@tracker.command()
@click.argument("peer")
@_data
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def vouch(peer: str, data: Path, as_json: bool) -> None:
    """Make PEER, a key of 64 hex digits, the operator's own: a validator is a referee then.

    A referee's word decides in every job, and it is not paid. Run it on a machine that you trust.
    Signed with the key in the tracker's --data directory; the tracker need not be running. The
    peer takes what is printed with `swarm key accept`.

    \b
    Example:
      swarm tracker vouch $(ssh lab2 swarm key show) | ssh lab2 swarm key accept -
    """
    folder = data.expanduser()
    if not (folder / KEY_FILE).exists():
        raise LocalError(
            f"there is no tracker in {folder}",
            hint="Name its folder with --data; `swarm tracker serve` makes one.",
        )
    operator = operator_identity(folder)
    made = Vouch.sign(operator, PeerKey(parse_hash(peer.strip(), "PEER")))
    if as_json:
        click.echo(json.dumps({"owner": operator.key.hex(), "peer": peer, "vouch": made.line()}))
    else:
        click.echo(made.line())


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _serve(data: Path, listen: Address) -> None:
    from tracker.service import serve

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve(data, listen) as running, asyncio.TaskGroup() as group:
        click.echo(f"Tracker {running.identity.key.hex()}", err=True)
        click.echo(f"Listening on {running.address.url} (Ctrl-C ends it)", err=True)
        stopped = group.create_task(stop.wait())
        await asyncio.wait((stopped, running.failure), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        failure = running.failure.result() if running.failure.done() else None
    if failure:
        raise failure
    click.echo("Tracker stopped.", err=True)


async def _grant(data: Path, claim: Grant) -> int:
    import aiohttp

    try:
        url = (data / ADDRESS_FILE).read_text().strip()
    except FileNotFoundError:
        raise UnavailableError(
            f"no tracker is running on {data}",
            hint=f"Start it first: swarm tracker serve --data {data}",
        ) from None
    statement = Statement.sign(
        operator_identity(data), claim, time=int(time.time()), nonce=os.urandom(16)
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as http,
            http.post(f"{url}/api/v1/statements", data=statement.encode()) as response,
        ):
            answer = await response.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UnavailableError(
            f"the tracker at {url} does not answer: {error or 'timeout'}",
            hint=f"Start it again: swarm tracker serve --data {data}",
        ) from None
    if not isinstance(answer, dict):
        raise MalformedError("the tracker's answer is not an object")
    if "error" in answer:
        problem = answer["error"]
        raise RefusedError(str(problem.get("message")), hint=str(problem.get("hint", "")))
    return int(answer["result"]["balance"])
