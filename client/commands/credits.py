"""``swarm credits``, ``swarm peers``: who is who, and what they have."""

from typing import TYPE_CHECKING

import click

from client import terminal
from client.commands.invocation import Invocation, command, option
from workunits.errors import LocalError
from workunits.ids import SHORT, PeerKey, parse_hash, short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from client.tracker_api import TrackerApi
    from client.views import AccountView, PeerView

ESCROW = "escrow:"
ESCROW_SHOWN = 16
"""Characters of the name of a job's escrow that are shown."""


@command(examples=("swarm credits", "swarm credits 9c41", "swarm credits --all --json"), key=True)
@click.argument("peer", required=False)
@option(
    "--all", "everybody", envvar="SWARM_CREDITS_ALL", is_flag=True, help="The richest accounts."
)
async def credits_(call: Invocation, peer: str | None, everybody: bool) -> None:
    """Show the credits of your account, or of PEER (a key or its first digits)."""
    async with call.tracker() as tracker:
        if everybody:
            accounts = await tracker.accounts()
        elif peer is None:
            accounts = (await tracker.account(call.identity().key),)
        else:
            key = peer if len(peer) == 64 else await _find(tracker, peer)
            accounts = (await tracker.account(PeerKey(parse_hash(key, "a key"))),)
    if call.json:
        terminal.show_json(accounts if everybody else accounts[0])
        return
    show_accounts(accounts)


@command(examples=("swarm peers", "swarm peers --connected --json"))
@option("--connected", is_flag=True, help="Only peers that are there now.")
async def peers(call: Invocation, connected: bool) -> None:
    """List the volunteers and validators that the tracker knows.

    A referee is a validator of the tracker's operator. `verified` results were confirmed by
    somebody else, `strikes` are results that were proven wrong; both fade with time.
    """
    async with call.tracker() as tracker:
        found = [each for each in await tracker.peers() if each.connected or not connected]
    if call.json:
        terminal.show_json(found)
        return
    if not found:
        call.note("no peers; join with `swarm volunteer`")
        return
    show_peers(found)


def show_accounts(accounts: "Iterable[AccountView]") -> None:
    """Print a table of accounts, without the escrows that are paid out."""
    terminal.show_table(
        ("account", "balance", "earned", "spent", "right", "strikes", ""),
        (
            (
                each.account[: ESCROW_SHOWN if each.account.startswith(ESCROW) else SHORT],
                each.balance,
                each.earned,
                each.spent,
                each.right,
                each.strikes,
                each.trouble,
            )
            for each in accounts
            if each.balance or not each.account.startswith(ESCROW)
        ),
    )


def show_peers(peers: "Iterable[PeerView]") -> None:
    """Print a table of peers."""
    terminal.show_table(
        ("peer", "owner", "role", "state", "cores", "leases", "verified", "strikes"),
        (
            (
                short(each.key),
                short(each.owner),
                each.role,
                each.trouble or ("here" if each.connected else "away"),
                each.cores,
                each.leases,
                each.verified,
                each.strikes,
            )
            for each in peers
        ),
    )


async def _find(tracker: "TrackerApi", text: str) -> str:
    text = text.lower()
    keys = {each.key.hex() for each in await tracker.peers()}
    keys |= {each.account for each in await tracker.accounts() if len(each.account) == 64}
    found = sorted(each for each in keys if each.startswith(text))
    if len(found) == 1:
        return found[0]
    if found:
        raise LocalError(f"{len(found)} accounts begin with {text}", hint="Give more digits.")
    raise LocalError(f"there is no account {text[:80]!r}", hint="`swarm peers` lists the peers.")
