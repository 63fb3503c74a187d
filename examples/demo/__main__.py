"""Run a whole swarm from nothing: tracker, three volunteers of whom one cheats, a validator."""

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from examples.demo import report
from examples.demo.swarm import LIAR, DemoError, Peer, Swarm
from sandbox import image
from sandbox.engine import engine
from workunits import entries
from workunits.archive import Items, frame
from workunits.entries import Verdict
from workunits.errors import SwarmError

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CACHE = Path.home() / ".cache" / "openswarm"
CREDITS = 10_000
CHECKS: dict[str, Callable[[Path, Console], bool]] = {
    "mersenne": report.mersenne,
    "digits": report.digits,
}


def main() -> None:
    """Parse arguments, run, and turn what happened into an exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("examples", nargs="*", default=list(CHECKS), help="default: all of them")
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo", help="where it keeps things")
    args = parser.parse_args()
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        good = run(args.examples, args.folder, console)
    except KeyboardInterrupt:
        console.print("\n[yellow]Interrupted; everything that was started has been stopped.")
        sys.exit(130)
    except (DemoError, SwarmError) as error:
        console.print(f"[red]error:[/] {error}")
        if hint := getattr(error, "hint", ""):
            console.print(f"[yellow]hint:[/] {hint}")
        console.print(f"The logs of every process are in {args.folder}.")
        sys.exit(1)
    sys.exit(0 if good else 1)


def run(examples: list[str], folder: Path, console: Console) -> bool:
    """Run ``examples`` one after the other, each on a swarm of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    with engine(CACHE / "engine", console.print) as found:
        console.print(f"Docker engine {found.version} at {found.url}")
        image.runtime(found.url, CACHE, console.print)
        results = [run_one(name, folder / name, found.url, console) for name in examples]
    for name, good in zip(examples, results, strict=True):
        console.print(f"{name}: {'[green]all as it must be' if good else '[red]NOT as it must be'}")
    return all(results)


def run_one(name: str, folder: Path, docker: str, console: Console) -> bool:
    """Run one example on a new swarm and check everything about it."""
    console.rule(name)
    began = time.monotonic()
    with ExitStack() as stack:
        swarm = Swarm(folder, docker, CACHE, stack)
        swarm.start_tracker()
        submitter = swarm.peer("submitter")
        honest = [swarm.peer("volunteer-1"), swarm.peer("volunteer-2")]
        cheat = swarm.peer("cheat")
        validator = swarm.peer("validator")
        swarm.grant(submitter, CREDITS)
        swarm.volunteer(cheat, program=LIAR)
        for peer in honest:
            swarm.volunteer(peer)
        swarm.volunteer(validator, "--validate")
        console.print(f"A tracker at {swarm.url}, three volunteers (one cheats), one validator")
        job_file = EXAMPLES / name / "job.toml"
        swarm.show(submitter, "submit", str(job_file), "--watch")
        job = swarm.get("jobs")["jobs"][0]["id"]
        results = folder / "results"
        swarm.show(submitter, "results", job, str(results))
        swarm.stop_peers()
        seconds = time.monotonic() - began
        good = CHECKS[name](results, console)
        everyone = [submitter, *honest, validator, cheat]
        good &= audit(swarm, job, everyone, cheat, console)
    console.print(f"{name} took {seconds:.0f} s")
    return good


def audit(swarm: Swarm, job: str, everyone: list[Peer], cheat: Peer, console: Console) -> bool:
    """Show who did what; whether the cheat was caught, earned nothing, and the books balance."""
    names = {peer.key: peer.name for peer in everyone}
    accounts = [swarm.get(f"accounts/{peer.key}") for peer in everyone]
    ledger = swarm.get("status")["ledger"]
    view = swarm.get(f"jobs/{job}")
    moved = {peer.name: peer.moved() for peer in everyone}
    console.print(report.peers(names, swarm.units(job), accounts, moved))
    books = swarm.get("accounts?limit=1000")["accounts"]
    console.print(report.balances(books, names, ledger["minted"]))
    held = sum(account["balance"] for account in books if account["account"] != "mint")
    paid = 2 * view["price"] * view["units"]
    by_name = {names[account["account"]]: account for account in accounts}
    checks = {
        "every unit was accepted": view["counts"]["accepted"] == view["units"],
        "the cheat was caught": by_name[cheat.name]["wrong"] > 0,
        "the cheat earned nothing": by_name[cheat.name]["earned"] == 0,
        "the books balance": ledger["total"] == 0 and held == ledger["minted"] == CREDITS,
        "files came from peers": sum(ways.get("from_peers", 0) for ways in moved.values()) > 0,
        "the submitter paid exactly for what was accepted": by_name["submitter"]["balance"]
        == CREDITS - paid,
    }
    for check, holds in checks.items():
        console.print(f"  {'[green]yes' if holds else '[red]NO '}[/]  {check}")
    console.print(f"Ledger: {json.dumps(ledger)}", soft_wrap=True)
    return all(checks.values()) & ledger_holds(swarm, everyone[0], console)


def ledger_holds(swarm: Swarm, peer: Peer, console: Console) -> bool:
    """Verify the ledger as anyone may, and then a copy in which one verdict pays more."""
    books = swarm.folder / "books.swl"
    swarm.run(peer, "ledger", "export", str(books), "--force")
    honest = swarm.ask(peer, "ledger", "verify", str(books))
    books.write_bytes(b"".join(map(frame, generous(Items().feed(books.read_bytes())))))
    spoilt = swarm.ask(peer, "ledger", "verify", str(books))
    for title, said in (("", honest), ("   # a copy in which one verdict pays more", spoilt)):
        print(f"$ swarm ledger verify {books.name}{title}")
        print((said.stdout + said.stderr).rstrip())
    return honest.returncode == 0 and spoilt.returncode != 0


def generous(items: Iterator[bytes]) -> Iterator[bytes]:
    """The parts of a ledger file; the first verdict pays its first winner 1,000 credits more."""
    yield next(items)
    done = False
    for item in items:
        entry = entries.parse(item)
        if isinstance(entry, Verdict) and not done:
            done = True
            first, *rest = entry.moves
            more = first._replace(amount=first.amount + 1000)
            yield entries.encode(replace(entry, moves=(more, *rest)))
        else:
            yield item


if __name__ == "__main__":
    main()
