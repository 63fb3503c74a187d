"""``swarm tracker``: run a tracker, mint credits, name referees and members as its operator."""

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from tracker.address import ADDRESS_FILE, KEY_FILE, Address, operator_identity
from tracker.announce.admission import Mode, passkey_of
from tracker.garbage import collect_rarely
from tracker.members import passkey_secret
from tracker.reach import MAX_SERVERS, Reach, is_public, is_stun, is_turn
from tracker.settings import NO_UDP, Settings
from workunits.errors import LocalError, MalformedError, RefusedError, UnavailableError
from workunits.ids import PeerKey, parse_hash
from workunits.statements import Admit, Claim, Grant, Passkey, Statement
from workunits.verification import Policy
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
_json = click.option(
    "--json", "as_json", is_flag=True, envvar="SWARM_JSON", help="Print the answer as JSON."
)


class ListenAddress(click.ParamType[Address]):
    """``HOST:PORT``; IPv6 hosts in brackets. With ``off``, the word of that name is nowhere."""

    name = "HOST:PORT"

    def __init__(self, *, off: bool = False) -> None:
        self._off = off

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        """Parse the address."""
        if isinstance(value, Address):
            return value
        if self._off and value == "off":
            return NO_UDP
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
@click.option(
    "--udp",
    type=ListenAddress(off=True),
    envvar="SWARM_TRACKER_UDP",
    show_envvar=True,
    help="Address of the UDP tracker, or 'off'; as --listen if not given.",
)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.LISTED.value,
    envvar="SWARM_TRACKER_MODE",
    show_default=True,
    show_envvar=True,
    help="Which torrents are tracked, and for whom: all; those of jobs and registered ones; the "
    "same for members only.",
)
@click.option(
    "--public",
    metavar="URL",
    default="",
    envvar="SWARM_TRACKER_PUBLIC",
    show_envvar=True,
    help="Address by which peers reach this tracker, if it is behind a proxy.",
)
@click.option("--stun", metavar="URL", multiple=True, help="STUN server of peers, stun:HOST:PORT.")
@click.option("--turn", metavar="URL", multiple=True, help="TURN server of peers, turn:HOST:PORT.")
@click.option(
    "--turn-secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the secret of the TURN servers (coturn: static-auth-secret).",
)
@click.option(
    "--answers",
    type=click.Choice([Policy.PAIR.value, Policy.TRUSTED.value]),
    default=Policy.PAIR.value,
    envvar="SWARM_TRACKER_ANSWERS",
    show_default=True,
    show_envvar=True,
    help="Whether a second peer checks what models answer. 'trusted' is for a swarm of your own "
    "machines: nobody checks, and answers say so.",
)
@click.option("--lan", is_flag=True, help="Peers are on one network: tell private addresses.")
@click.option("--verbose", is_flag=True, help="Log every peer that comes and goes.")
def serve_command(
    data: Path,
    listen: Address,
    udp: Address | None,
    mode: str,
    public: str,
    stun: tuple[str, ...],
    turn: tuple[str, ...],
    turn_secret_file: Path | None,
    answers: str,
    lan: bool,
    verbose: bool,
) -> None:
    """Serve announce, work, REST and the status page until Ctrl-C.

    What was acknowledged is on disk: a tracker that is killed and started again goes on.

    \b
    Example:
      swarm tracker serve --data ./tracker --listen 127.0.0.1:8400
      swarm tracker serve --listen 0.0.0.0:8400 --stun stun:stun.example:3478 \\
        --turn turn:turn.example:3478 --turn-secret-file ./turn.secret
    """
    settings = _settings(mode, udp, public, stun, turn, turn_secret_file, lan=lan)
    settings = replace(settings, answers=Policy(answers))
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o077)
    collect_rarely()
    _run(_serve(data.expanduser(), listen, settings))


def _settings(
    mode: str,
    udp: Address | None,
    public: str,
    stun: tuple[str, ...],
    turn: tuple[str, ...],
    secret_file: Path | None,
    *,
    lan: bool,
) -> Settings:
    for option, urls, accepts in (("--stun", stun, is_stun), ("--turn", turn, is_turn)):
        for url in urls:
            if not accepts(url):
                raise click.BadParameter(
                    f"{url!r} is not {option[2:]}:HOST:PORT", param_hint=option
                )
        if len(urls) > MAX_SERVERS:
            raise click.BadParameter(f"more than {MAX_SERVERS}", param_hint=option)
    if public and not is_public(public):
        raise click.BadParameter(f"{public!r} is not http(s)://HOST", param_hint="--public")
    if bool(turn) != bool(secret_file):
        raise click.UsageError("--turn and --turn-secret-file go together")
    secret = b""
    if secret_file:
        try:
            secret = secret_file.read_bytes().strip()
        except OSError as error:
            raise LocalError(
                f"cannot read {secret_file}: {error.strerror}",
                hint="Write coturn's static-auth-secret into it.",
            ) from None
        if not secret:
            raise LocalError(
                f"{secret_file} is empty", hint="Write coturn's static-auth-secret into it."
            )
    return Settings(Mode(mode), Reach(stun, turn, secret, lan, public), udp)


@tracker.command()
@click.argument("key")
@click.argument("amount", type=click.IntRange(1))
@_data
@_json
def grant(key: str, amount: int, data: Path, as_json: bool) -> None:
    """Mint AMOUNT credits for the account KEY.

    KEY has 64 hex digits; `swarm key show` prints it. Signed with the key in the tracker's --data
    directory; the tracker must be running.

    \b
    Example:
      swarm tracker grant $(swarm key show) 1000
    """
    account = PeerKey(parse_hash(key, "KEY"))
    balance = _run(_say(data.expanduser(), Grant(account, amount)))["balance"]
    if as_json:
        click.echo(json.dumps({"account": key, "amount": amount, "balance": balance}))
    else:
        click.echo(f"Minted {amount:,} credits for {key[:12]}; it has {balance:,} now.")


@tracker.command()
@click.argument("peer")
@_data
@_json
def vouch(peer: str, data: Path, as_json: bool) -> None:
    """Make PEER the operator's own: a validator is a referee then.

    PEER is a key of 64 hex digits. A referee's word decides in every job, and it is not paid. Run
    it on a machine that you trust. Signed with the key in the tracker's --data directory; the
    tracker need not be running. The peer takes what is printed with `swarm key accept`.

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


@tracker.command()
@click.argument("key")
@click.option("--revoke", is_flag=True, help="KEY is no member any more, account or not.")
@_data
@_json
def member(key: str, revoke: bool, data: Path, as_json: bool) -> None:
    """Make KEY a member.

    KEY has 64 hex digits. A member may announce to a tracker that is for members. Who has an
    account is a member already. Signed with the key in the tracker's --data directory; the tracker
    must be running.

    \b
    Example:
      swarm tracker member $(swarm key show)
      swarm tracker member $(swarm key show) --revoke
    """
    account = PeerKey(parse_hash(key, "KEY"))
    _run(_say(data.expanduser(), Admit(account, not revoke)))
    if as_json:
        click.echo(json.dumps({"account": key, "member": not revoke}))
    else:
        click.echo(f"{key[:12]} is {'no member any more' if revoke else 'a member now'}.")


@tracker.command()
@click.argument("key")
@click.option("--revoke", is_flag=True, help="End the passkey, and make no other.")
@_data
@_json
def passkey(key: str, revoke: bool, data: Path, as_json: bool) -> None:
    """Print an announce URL with a passkey for KEY.

    KEY has 64 hex digits. Any BitTorrent client takes the URL. Whoever knows the URL announces as
    KEY. The passkey that KEY had before is over. The tracker must be running.

    \b
    Example:
      swarm tracker passkey $(swarm key show)
    """
    folder = data.expanduser()
    account = PeerKey(parse_hash(key, "KEY"))
    answer = _run(_say(folder, Passkey(account, not revoke)))
    if revoke:
        click.echo(
            json.dumps({"account": key, "announce": None})
            if as_json
            else f"{key[:12]} has no passkey any more."
        )
        return
    # Made here and not by the tracker, so that it does not travel.
    secret = passkey_secret(operator_identity(folder))
    made = passkey_of(secret, account, int(answer["passkey"]))
    url = f"{answer['public'] or _address(folder)}/announce/{made.hex()}"
    click.echo(json.dumps({"account": key, "announce": url}) if as_json else url)


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _serve(data: Path, listen: Address, settings: Settings) -> None:
    from tracker.service import serve

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with (
        serve(data, listen, settings=settings) as running,
        asyncio.TaskGroup() as group,
    ):
        click.echo(f"Tracker {running.identity.key.hex()}", err=True)
        if running.udp_port:
            click.echo(f"UDP announces on port {running.udp_port}", err=True)
        click.echo(f"Listening on {running.address.url} (Ctrl-C ends it)", err=True)
        stopped = group.create_task(stop.wait())
        await asyncio.wait((stopped, running.failure), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        failure = running.failure.result() if running.failure.done() else None
    if failure:
        raise failure
    click.echo("Tracker stopped.", err=True)


def _address(data: Path) -> str:
    try:
        return (data / ADDRESS_FILE).read_text().strip()
    except FileNotFoundError:
        raise UnavailableError(
            f"no tracker is running on {data}",
            hint=f"Start it first: swarm tracker serve --data {data}",
        ) from None


async def _say(data: Path, claim: Claim) -> dict[str, Any]:
    """Have the running tracker carry out its operator's claim; its answer."""
    import aiohttp

    url = _address(data)
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
    result = answer["result"]
    if not isinstance(result, dict):
        raise MalformedError("the tracker's answer has no result")
    return result
