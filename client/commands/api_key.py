"""``swarm api-key``: secrets with which programs ask models, and what they may spend."""

from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from client.jobs.quantities import plural
from workunits.errors import LocalError
from workunits.ids import short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from client.api_keys import ApiKeyView
    from client.json_fields import JsonFields
    from client.tracker_api import TrackerApi
    from workunits.statements import Claim

MAX_AMOUNT = 10**15
MAX_PER_MINUTE = 10**6
PER_MINUTE = 600
PASS_SECONDS = 120
NAME_SHOWN = 16


@click.group()
def api_key() -> None:
    """API keys: what OpenAI and Anthropic clients ask the swarm with."""


@command(
    examples=(
        "swarm api-key create --budget 100000",
        "swarm api-key create --budget 5000 --name editor --per-minute 30 --json | jq -r .secret",
    ),
    key=True,
)
@option(
    "--budget",
    type=click.IntRange(1, MAX_AMOUNT),
    required=True,
    help="Credits that the key may spend; they are paid now.",
)
@option("--name", default="", metavar="TEXT", help="What it is for.")
@option(
    "--per-minute",
    type=click.IntRange(1, MAX_PER_MINUTE),
    default=PER_MINUTE,
    help="Requests that the key may make in a minute.",
)
async def create(call: Invocation, budget: int, name: str, per_minute: int) -> None:
    """Make an API key. Its secret is printed once, and kept nowhere.

    Whoever has the secret spends its budget, and nothing else of your account. The credits go to
    the tracker's operator, who pays back what is left when the key is closed. Anybody can read in
    the ledger that the key was opened, its name and its budget, and not what it is used for.
    """
    import secrets

    from workunits.models.apikey import ENTROPY, hash_of, secret_of
    from workunits.statements import OpenKey

    secret = secret_of(secrets.token_bytes(ENTROPY))
    claim = OpenKey(hash_of(secret), name, budget, per_minute)
    async with call.tracker() as tracker:
        await _say(call, tracker, claim)
        url = f"{tracker.url}/v1"
    if call.json:
        about = {"name": name, "budget": budget, "per_minute": per_minute, "base_url": url}
        terminal.show_json({"secret": secret, "hash": claim.hash} | about)
        return
    click.echo(secret)
    call.note(f"{plural(budget, 'credit')} paid; the secret is not shown again. OpenAI clients:")
    call.note(f"  OPENAI_BASE_URL={url} OPENAI_API_KEY=<secret>")


@command(examples=("swarm api-key list", "swarm api-key list --json"), key=True)
@option(
    "--all", "everything", envvar="SWARM_API_KEY_LIST_ALL", is_flag=True, help="Closed keys too."
)
async def list_(call: Invocation, everything: bool) -> None:
    """List your API keys, and what they have left.

    Credits that are set aside for requests under way are neither left nor spent; `/min` is how many
    requests a key may make in a minute.
    """
    async with call.tracker() as tracker:
        found = await _own(call, tracker)
    found = [each for each in found if everything or not each.closed]
    if call.json:
        terminal.show_json(found)
        return
    if not found:
        call.note("no API keys; make one with `swarm api-key create --budget CREDITS`")
        return
    show_keys(found)


def show_keys(found: "Iterable[ApiKeyView]") -> None:
    """Print a table of API keys."""
    terminal.show_table(
        ("key", "name", "left", "spent", "requests", "/min", ""),
        (
            (
                short(each.hash),
                terminal.cut(each.name, NAME_SHOWN),
                each.left,
                each.spent,
                each.requests,
                each.per_minute,
                "closed" if each.closed else "",
            )
            for each in found
        ),
    )


@command(
    examples=("swarm api-key top-up 3f2a91 5000", "swarm api-key top-up editor 5000"), key=True
)
@click.argument("which", metavar="KEY")
@click.argument("amount", type=click.IntRange(1, MAX_AMOUNT))
async def top_up(call: Invocation, which: str, amount: int) -> None:
    """Pay AMOUNT credits more into KEY.

    KEY is an open key's name, or the first digits of its hash.
    """
    from workunits.statements import OpenKey

    async with call.tracker() as tracker:
        key = await _find(call, tracker, which)
        claim = OpenKey(key.hash, key.name, amount, key.per_minute)
        left = (await _say(call, tracker, claim)).integer("left")
    if call.json:
        terminal.show_json({"hash": key.hash, "left": left})
    else:
        click.echo(f"API key {short(key.hash)} has {plural(left, 'credit')} left")


@command(examples=("swarm api-key close 3f2a91", "swarm api-key close editor"), key=True)
@click.argument("which", metavar="KEY")
async def close(call: Invocation, which: str) -> None:
    """End KEY, a key's name or the first digits of its hash. What is left of it is paid back.

    Requests under way are finished; what they do not use is paid back then.
    """
    from workunits.statements import CloseKey

    async with call.tracker() as tracker:
        key = await _find(call, tracker, which)
        returned = (await _say(call, tracker, CloseKey(key.hash))).integer("returned")
    if call.json:
        terminal.show_json({"hash": key.hash, "returned": returned})
    else:
        click.echo(f"API key {short(key.hash)} is closed; {plural(returned, 'credit')} paid back")


async def _say(call: Invocation, tracker: "TrackerApi", claim: "Claim") -> "JsonFields":
    import secrets

    from client.tracker_api import now
    from workunits.statements import Statement

    nonce = secrets.token_bytes(16)
    return await tracker.state(Statement.sign(call.identity(), claim, time=now(), nonce=nonce))


async def _own(call: Invocation, tracker: "TrackerApi") -> list["ApiKeyView"]:
    from urllib.parse import parse_qsl

    from client.tracker_api import now
    from workunits.passes import SignedPass

    whose = (await tracker.status()).tracker
    query = SignedPass.query(call.identity(), now() + PASS_SECONDS, whose)
    return list(await tracker.api_keys(dict(parse_qsl(query))))


async def _find(call: Invocation, tracker: "TrackerApi", text: str) -> "ApiKeyView":
    open_ = [each for each in await _own(call, tracker) if not each.closed]
    found = [each for each in open_ if each.name == text] or [
        each for each in open_ if text and each.hash.hex().startswith(text.lower())
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise LocalError(
            f"{len(found)} of your API keys go by {text[:80]!r}", hint="Give more of its hash."
        )
    raise LocalError(
        f"you have no open API key {text[:80]!r}", hint="`swarm api-key list` lists them."
    )


for each, name in ((create, "create"), (list_, "list"), (top_up, "top-up"), (close, "close")):
    api_key.add_command(each, name)
