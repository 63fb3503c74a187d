"""Run a whole swarm from nothing: a tracker, honest peers, a referee, four kinds of cheats."""

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

from examples.demo import answers, report
from examples.demo.swarm import COPYCAT, LIAR, DemoError, Peer, Swarm
from sandbox import image
from sandbox.engine import engine
from workunits import entries
from workunits.archive import Items, frame
from workunits.entries import Final, Verdict
from workunits.errors import SwarmError

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CACHE = Path.home() / ".cache" / "openswarm"
CREDITS = 10_000
CAST = (
    "A tracker at {}, and six peers: honest-1 and honest-2; a referee, whom the operator vouches "
    "for; liar-1 and liar-2, who give the same wrong answers, so that they confirm each other; "
    "copycat, who computes nothing, looks in the ledger for what others committed to, and guesses "
    "where it finds nothing."
)
CHECKS: dict[str, Callable[[Path, Console], bool]] = {
    "mersenne": report.mersenne,
    "digits": report.digits,
}
ANSWERS = "answers"


def main() -> None:
    """Parse arguments, run, and turn what happened into an exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "examples", nargs="*", default=[*CHECKS, ANSWERS], help="default: all of them"
    )
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
    if name == ANSWERS:
        good = answers.run(folder, docker, CACHE, console)
        console.print(f"{name} took {time.monotonic() - began:.0f} s")
        return good
    with ExitStack() as stack:
        swarm = Swarm(folder, docker, CACHE, stack)
        swarm.start_tracker()
        submitter, referee = swarm.peer("submitter"), swarm.peer("referee")
        honest = [swarm.peer("honest-1"), swarm.peer("honest-2")]
        clique = [swarm.peer("liar-1"), swarm.peer("liar-2")]
        copycat = swarm.peer("copycat")
        console.print(CAST.format(swarm.url))
        swarm.grant(submitter, CREDITS)
        swarm.make_referee(referee)
        swarm.volunteer(referee, "--validate")
        for peer in clique:
            swarm.volunteer(peer, program=LIAR)
        swarm.volunteer(copycat, "--validate", program=COPYCAT)
        for peer in honest:
            swarm.volunteer(peer)
        swarm.gather(6)
        job_file = EXAMPLES / name / "job.toml"
        swarm.show(submitter, "submit", str(job_file), "--watch")
        job = swarm.get("jobs")["jobs"][0]["id"]
        results = folder / "results"
        swarm.show(submitter, "results", job, str(results))
        swarm.stop_peers()
        seconds = time.monotonic() - began
        good = CHECKS[name](results, console)
        everyone = [submitter, *honest, referee, *clique, copycat]
        good &= audit(swarm, job, everyone, console)
    console.print(f"{name} took {seconds:.0f} s")
    return good


def audit(swarm: Swarm, job: str, everyone: list[Peer], console: Console) -> bool:
    """Show who did what; whether the cheats were caught, earned nothing, and the books balance."""
    names = {peer.key: peer.name for peer in everyone}
    submitter = everyone[0]
    books = swarm.folder / "books.swl"
    swarm.run(submitter, "ledger", "export", str(books), "--force")
    _, *items = Items().feed(books.read_bytes())
    log = [entries.parse(item) for item in items]
    verdicts = [entry for entry in log if isinstance(entry, Verdict)]
    payments = [entry for entry in log if isinstance(entry, Verdict | Final)]
    paid = sum(move.amount for entry in payments for move in entry.moves)
    accounts = {name: swarm.get(f"accounts/{key}") for key, name in names.items()}
    ledger = swarm.get("status")["ledger"]
    view = swarm.get(f"jobs/{job}")
    moved = {peer.name: peer.moved() for peer in everyone}
    console.print(report.peers(swarm.units(job), accounts, moved))
    again = len(verdicts) - len({entry.index for entry in verdicts})
    console.print(f"Units settled on the word of a cheat, taken back and computed again: {again}")
    shown = swarm.get("accounts?limit=1000")["accounts"]
    console.print(report.balances(shown, names, ledger["minted"]))
    held = sum(account["balance"] for account in shown if account["account"] != "mint")
    liars, copycat = [accounts["liar-1"], accounts["liar-2"]], accounts["copycat"]
    checks = {
        "every unit was accepted": view["counts"]["accepted"] == view["units"],
        "both liars were caught": all(liar["banned"] or liar["strikes"] for liar in liars),
        "the copycat got nothing right": copycat["right"] == 0
        and copycat["withheld"] + copycat["wrong"] > 0,
        "no cheat earned anything": not any(each["earned"] for each in (*liars, copycat)),
        "the books balance": ledger["total"] == 0 and held == ledger["minted"] == CREDITS,
        "files came from peers": sum(ways.get("from_peers", 0) for ways in moved.values()) > 0,
        "the submitter paid exactly what the ledger says": accounts["submitter"]["balance"]
        == CREDITS - paid
        and sum(account["earned"] for account in accounts.values()) == paid,
    }
    for check, holds in checks.items():
        console.print(f"  {'[green]yes' if holds else '[red]NO '}[/]  {check}")
    console.print(f"Ledger: {json.dumps(ledger)}", soft_wrap=True)
    return all(checks.values()) & ledger_holds(swarm, submitter, books)


def ledger_holds(swarm: Swarm, peer: Peer, books: Path) -> bool:
    """Verify the ledger as anyone may, and then a copy in which somebody is paid more."""
    honest = swarm.ask(peer, "ledger", "verify", str(books))
    books.write_bytes(b"".join(map(frame, generous(Items().feed(books.read_bytes())))))
    spoilt = swarm.ask(peer, "ledger", "verify", str(books))
    for title, said in (("", honest), ("   # a copy in which somebody is paid more", spoilt)):
        print(f"$ swarm ledger verify {books.name}{title}")
        print((said.stdout + said.stderr).rstrip())
    return honest.returncode == 0 and spoilt.returncode != 0


def generous(items: Iterator[bytes]) -> Iterator[bytes]:
    """The parts of a ledger file; the first payment gives its first peer 1,000 credits more."""
    yield next(items)
    done = False
    for item in items:
        entry = entries.parse(item)
        if isinstance(entry, Final) and not done:
            done = True
            first, *rest = entry.moves
            more = first._replace(amount=first.amount + 1000)
            yield entries.encode(replace(entry, moves=(more, *rest)))
        else:
            yield item


if __name__ == "__main__":
    main()
