"""The demo's last tables, and whether all is as it must be."""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from client.jobs.quantities import format_size

WAYS = ("from_peers", "from_tracker", "to_peers")
"""How a volunteer's files came and went, as it says when it ends."""

MERSENNE_EXPONENTS = (
    2, 3, 5, 7, 13, 17, 19, 31, 61, 89, 107, 127, 521, 607, 1279, 2203, 2281, 3217, 4253, 4423,
)  # fmt: skip
"""The known Mersenne prime exponents below 5,000 (OEIS A000043)."""


def mersenne(folder: Path, console: Console) -> bool:
    """Show the exponents found; whether they are the known ones."""
    answers = [json.loads(path.read_text()) for path in folder.glob("*/answer.json")]
    found = tuple(sorted(answer["exponent"] for answer in answers if answer["prime"]))
    table = Table(
        title=f"Mersenne primes 2^p - 1 among {len(answers)} exponents", box=box.SIMPLE_HEAD
    )
    table.add_column("p")
    table.add_row(", ".join(map(str, found)))
    console.print(table)
    return found == MERSENNE_EXPONENTS


def digits(folder: Path, console: Console) -> bool:
    """Show the accuracy of each k and metric; whether every fold is there and adds up."""
    right: Counter[tuple[str, str]] = Counter()
    tested: Counter[tuple[str, str]] = Counter()
    consistent = True
    for line in (folder / "results.jsonl").read_text().splitlines():
        unit = json.loads(line)
        cell = (unit["parameters"]["k"], unit["parameters"]["metric"])
        home = folder / str(unit["index"])
        score = json.loads((home / "score.json").read_text())
        with (home / "predictions.csv").open() as file:
            rows = list(csv.DictReader(file))
        hits = sum(row["digit"] == row["predicted"] for row in rows)
        consistent &= hits == score["right"] and len(rows) == score["of"]
        right[cell] += score["right"]
        tested[cell] += score["of"]
    metrics = sorted({metric for _, metric in right})
    table = Table("k", *metrics, title="k nearest neighbours, 5-fold", box=box.SIMPLE_HEAD)
    for k in sorted({k for k, _ in right}, key=int):
        shares = [right[k, metric] / tested[k, metric] for metric in metrics]
        table.add_row(k, *(f"{share:.2%}" for share in shares))
    console.print(table)
    return consistent and set(tested.values()) == {1797} and len(tested) == 9


def peers(
    units: Iterable[dict[str, Any]],
    accounts: dict[str, dict[str, Any]],
    moved: dict[str, dict[str, int]],
) -> Table:
    """Who was paid for what, who was caught, and how files travelled; by name."""
    paid = Counter(winner for unit in units for winner in unit["winners"])
    table = Table(title="Who computed what, and how files travelled", box=box.SIMPLE_HEAD)
    table.add_column("\nPeer", no_wrap=True)
    table.add_column("", no_wrap=True)
    titles = ("Units\npaid", "Wrong\nresults", "From\npeers", "From\ntracker", "To\npeers")
    for column in titles:
        table.add_column(column, justify="right", no_wrap=True)
    for name, account in accounts.items():
        counts = (paid[account["account"]], account["wrong"])
        cells = [f"{count:,}" for count in counts]
        cells += [format_size(moved[name][way]) if moved[name] else "" for way in WAYS]
        if moved[name] or any(counts):
            table.add_row(name, f"[red]{_trouble(account)}", *cells)
    return table


def _trouble(account: dict[str, Any]) -> str:
    if account["strikes"]:
        return "banned" if account["banned"] else "caught"
    return "doubted" if account["doubted"] else ""


def balances(accounts: list[dict[str, Any]], names: dict[str, str], minted: int) -> Table:
    """The ledger's total: all accounts against what was minted."""
    table = Table(title="The books", box=box.SIMPLE_HEAD)
    table.add_column("Account")
    table.add_column("Credits", justify="right")
    held = 0
    for account in accounts:
        name = account["account"]
        if name == "mint":
            continue
        held += account["balance"]
        if account["balance"] or name in names:
            table.add_row(names.get(name, name[:20]), f"{account['balance']:,}")
    table.add_section()
    table.add_row("Sum of all accounts", f"{held:,}")
    table.add_row("Minted", f"{minted:,}")
    return table
