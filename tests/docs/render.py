"""Parts of the documentation that are made from code. ``python -m tests.docs.render`` writes them.

A part stands between ``<!-- rendered NAME -->`` and ``<!-- end NAME -->``.
"""

import inspect
import json
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import client.peers.protocol
import client.peers.swarm
import client.peers.webrtc
import tracker.announce.handlers
import tracker.announce.http
import tracker.announce.pace
import tracker.announce.signalling
import tracker.announce.swarms
import tracker.api.handlers
import tracker.api.torrents
import tracker.blobs
import tracker.registry
import tracker.sessions
import tracker.work.comparing
import tracker.work.dispute
import tracker.work.floor
import tracker.work.fresh
import tracker.work.larder
import tracker.work.leasing
import tracker.work.state
import tracker.work.table
import validators.policies
import validators.reputation
import workunits.beacon
import workunits.canonical
import workunits.entries
import workunits.images
import workunits.ledger.credit
import workunits.ledger.moves
import workunits.ledger.work
import workunits.manifest
import workunits.metainfo
import workunits.parameters
import workunits.passes
import workunits.results
import workunits.ringers
import workunits.statements
import workunits.submission
import workunits.wire.compare
import workunits.wire.holds
import workunits.wire.signalling
import workunits.wire.work
from client.calibration import report
from sandbox.profile import Owner as ContainerOwner
from sandbox.profile import Share, container, host_config, seccomp
from sandbox.runner import Limits
from simulator import findings, study
from tests.docs.pages import ROOT, page
from tests.docs.vectors import manifest, note, vectors
from validators.settings import BOUNDS, RATES, SETTINGS, Settings
from workunits.verification import Policy

_PART = re.compile(r"(<!-- rendered ([\w-]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
_WIDTH = 96
TRUST = ROOT / "docs" / "trust.json"
MODELS = ROOT / "docs" / "models.json"


def vector_lines() -> str:
    """Every vector as ``name = value``, long values continued on indented lines."""
    lines = ["```text"]
    for name, value in vectors().items():
        if len(name) + len(value) + 3 <= _WIDTH:
            lines.append(f"{name} = {value}")
        else:
            wrap = textwrap.wrap(value, _WIDTH - 4, break_long_words=True)
            lines += [f"{name} =", *(f"    {part}" for part in wrap)]
    return "\n".join([*lines, "```"])


def parse_vectors(text: str) -> dict[str, str]:
    """The reverse of ``vector_lines``."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("    "):
            found[name] += line.strip()
        else:
            name, _, value = line.partition(" =")
            found[name] = value.strip()
    return found


def transitions(table: Mapping[tuple[StrEnum, StrEnum], StrEnum], name: str) -> str:
    """A state table with its guards, which are the comments beside it in the code."""
    guards = _guards(name)
    rows = [
        f"| {state} | {act} | {target} | {guards[type(state).__name__, state.name, act.name]} |"
        for (state, act), target in table.items()
    ]
    return "\n".join(["| from | what happens | to | when |", "|---|---|---|---|", *rows])


def _guards(table: str) -> dict[tuple[str, str, str], str]:
    source = inspect.getsource(tracker.work.table)
    body = source.split(f"\n{table}: ", 1)[1].split("\n}\n", 1)[0]
    guard, found = "", {}
    for line in map(str.strip, body.splitlines()):
        if line.startswith("# "):
            guard = line.removeprefix("# ")
        elif match := re.match(r"\((\w+)\.(\w+), \w+\.(\w+)\)", line):
            found[match[1], match[2], match[3]] = guard
    return found


def policies() -> str:
    """What every policy does, in words."""
    head = [
        "| policy | executions | one more of new peers | by lot | referee | paid | final |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = []
    for policy in Policy:
        each = SETTINGS[policy]
        cells = [
            f"{each.copies}",
            f"for their first {each.probation}" if each.probation else "no",
            _percent(each.audit),
            _percent(each.referee),
            f"{replace(manifest(), policy=policy).executions}",
            "with its batch" if each.batch > 1 else "at once",
        ]
        rows.append(f"| `{policy.value}` | {' | '.join(cells)} |")
    return "\n".join([*head, *rows])


def _percent(rate: int) -> str:
    return f"{rate / 10:g} %" if rate else "no"


def demands() -> str:
    """The numbers of every policy as the wire has them, and their bounds."""
    rows = []
    for field in fields(Settings):
        values = [f"{getattr(SETTINGS[policy], field.name):,}" for policy in Policy]
        bounds = [f"{bound:,}" for bound in BOUNDS.get(field.name, ())] or ["", ""]
        name = f"{field.name}`, per mille" if field.name in RATES else f"{field.name}`"
        rows.append(f"| `{name} | {' | '.join((*values, *bounds))} |")
    return "\n".join([*_policy_head(), *rows])


def settings() -> str:
    """What every policy sets, and how far a job may change it; numbers as a job file has them."""
    rows = []
    for name, bounds in BOUNDS.items():
        unit = 1000 if name in RATES else 1
        values = [getattr(SETTINGS[policy], name) for policy in Policy]
        cells = [f"{value / unit:g}" if unit > 1 else f"{value:,}" for value in (*values, *bounds)]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*_policy_head(), *rows])


def _policy_head() -> list[str]:
    policies = " | ".join(f"`{policy.value}`" for policy in Policy)
    return [f"| setting | {policies} | from | to |", "|---|" + "---|" * (len(Policy) + 2)]


def checkpoint() -> str:
    """The tracker's signed note over the example's ledger."""
    return f"```text\n{note()}```"


def profile() -> str:
    """The container of a unit with 256 MiB of memory and 1 MiB of output."""
    limits = Limits(60, 180, 256 << 20, 1 << 20)
    host = host_config(limits, Share(), Path("FOLDER"))
    body = container("IMAGE", "HARNESS", host, ContainerOwner("OWNER", 0))
    del body["HostConfig"], body["Image"], body["Labels"]
    rows = [_setting(name, value) for name, value in (body | host).items()]
    return "\n".join(["| setting of the engine | value |", "|---|---|", *rows])


def _setting(name: str, value: object) -> str:
    if name == "Ulimits":
        value = {limit["Name"]: limit["Hard"] for limit in cast("list[dict[str, Any]]", value)}
    text = json.dumps(value).replace(json.dumps(seccomp())[1:-1], "FILTER")
    return f"| {name} | `{text}` |"


_LIMITS: tuple[tuple[str, tuple[tuple[str, Any, str], ...]], ...] = (
    (
        "Bencode",
        (
            ("Nesting of values", workunits.canonical, "MAX_DEPTH"),
            ("Largest integer", workunits.canonical, "MAX_INTEGER"),
        ),
    ),
    (
        "Manifest",
        (
            ("Bytes", workunits.manifest, "MAX_MANIFEST"),
            ("Words of the command", workunits.manifest, "MAX_COMMAND"),
            ("Bytes of one word", workunits.manifest, "MAX_ARGUMENT"),
            ("Program files; inputs of every unit", workunits.manifest, "MAX_FILES"),
            ("Layers of an image", workunits.images, "MAX_LAYERS"),
            ("Layers of an image together, bytes", workunits.images, "MAX_IMAGE"),
            ("Outputs", workunits.manifest, "MAX_OUTPUTS"),
            ("Price of one execution, credits", workunits.manifest, "MAX_PRICE"),
            ("CPU and wall seconds of a unit", workunits.manifest, "MAX_CPU_SECONDS"),
            ("Least memory, bytes", workunits.manifest, "MIN_MEMORY"),
            ("Most memory, bytes", workunits.manifest, "MAX_MEMORY"),
            ("Output, bytes", workunits.manifest, "MAX_OUTPUT_BYTES"),
            ("Output under `numeric`, bytes", workunits.manifest, "MAX_NUMERIC_OUTPUT"),
            ("Axes", workunits.parameters, "MAX_AXES"),
            ("Values of one axis", workunits.parameters, "MAX_VALUES"),
            ("Bytes of one value", workunits.parameters, "MAX_VALUE_BYTES"),
            ("Units", workunits.parameters, "MAX_UNITS"),
            ("Known answers", workunits.ringers, "MAX_ANSWERS"),
            ("Submission, bytes", workunits.submission, "MAX_SUBMISSION"),
        ),
    ),
    (
        "Results and statements",
        (
            ("Result manifest, bytes", workunits.results, "MAX_RESULT"),
            (
                "Inline outputs under `exact` and `program`, bytes",
                workunits.results,
                "INLINE_LIMIT",
            ),
            ("Statement, bytes", workunits.statements, "MAX_STATEMENT"),
            ("Seconds that its time may be off", workunits.statements, "MAX_AGE"),
            ("Credits in one grant", workunits.statements, "MAX_AMOUNT"),
        ),
    ),
    (
        "Work session",
        (
            ("Frame, bytes", workunits.wire.work, "MAX_FRAME"),
            ("Commits or results in one message", workunits.wire.work, "MAX_BATCH"),
            ("Leases held; tokens in most messages", workunits.wire.work, "MAX_HOLD"),
            ("One inline output, bytes", workunits.wire.work, "MAX_INLINE"),
            ("Comparisons or judgements in one message", workunits.wire.compare, "MAX_PAIRS"),
            ("Seconds from challenge to hello", tracker.sessions, "HELLO_SECONDS"),
            ("Seconds between pings", tracker.sessions, "HEARTBEAT_SECONDS"),
            ("Frames that may wait for a peer", tracker.sessions, "MAX_QUEUED"),
            ("Blobs that a peer names as held", workunits.wire.holds, "MAX_HELD"),
            ("Messages that say so, at once", tracker.work.larder, "BURST"),
            ("Seconds for one more of them", tracker.work.larder, "EVERY"),
            ("Leases of one job before the next job's turn", tracker.work.leasing, "TURN"),
            ("Jobs looked at for what a peer holds", tracker.work.leasing, "CHOICES"),
            ("Files looked at for what a peer holds", tracker.work.fresh, "LOOK"),
            ("Bytes a second that a lease has time for", tracker.work.leasing, "FETCHING"),
            (
                "Comparisons asked of a peer at once, for each core",
                tracker.work.comparing,
                "ROUNDS",
            ),
            (
                "Comparisons that fail before two results count as different",
                tracker.work.dispute,
                "MAX_LOST",
            ),
            ("Opinions that agree, without a referee", tracker.work.dispute, "VOICES"),
            ("Attempts at a unit, lost ones too", tracker.work.floor, "MAX_ATTEMPTS"),
            ("Units of a job between lease and verdict", tracker.work.state, "MAX_IN_FLIGHT"),
            (
                "Results late or withheld before a peer is doubted",
                validators.policies,
                "FAILURES_BEFORE_DOUBT",
            ),
            ("Wrong results before a ban", validators.reputation, "STRIKES"),
            ("Seconds in which half of a score is forgotten", validators.reputation, "HALF_LIFE"),
        ),
    ),
    (
        "Ledger",
        (
            ("Entry, bytes", workunits.entries, "MAX_ENTRY"),
            ("Moves of one entry", workunits.ledger.moves, "MAX_MOVES"),
            ("Executions in one verdict", workunits.ledger.work, "MAX_CAST"),
            ("Draws in one entry", workunits.ledger.work, "MAX_DRAWS"),
            ("Units that one entry makes final", workunits.ledger.credit, "MAX_FINAL"),
            ("Links of one chain", workunits.beacon, "LINKS"),
        ),
    ),
    (
        "Announce over HTTP",
        (
            ("Interval, seconds", tracker.announce.http, "INTERVAL"),
            ("Least interval, seconds", tracker.announce.http, "MIN_INTERVAL"),
            ("Least scrape interval, seconds", tracker.announce.http, "SCRAPE_INTERVAL"),
            ("Peers when not asked for a number", tracker.announce.http, "DEFAULT_PEERS"),
            ("Peers, most", tracker.announce.http, "MAX_PEERS"),
            ("Query, bytes", tracker.announce.http, "MAX_QUERY"),
            ("Hashes in one scrape", workunits.wire.signalling, "MAX_SCRAPE"),
            ("Bytes of a `key`", tracker.announce.http, "MAX_TOKEN"),
            ("Bytes of a `trackerid`", tracker.announce.http, "MAX_TRACKER_ID"),
            ("Announces of a network for long, a second", tracker.announce.pace, "RATE"),
            ("Announces of a network at once", tracker.announce.pace, "BURST"),
            ("Cost of an early announce, announces", tracker.announce.swarms, "EARLY_COST"),
            ("Seconds for which a pass may be made out", workunits.passes, "MAX_AHEAD"),
        ),
    ),
    (
        "Registered torrents",
        (
            ("Name, bytes", workunits.statements, "MAX_TORRENT_NAME"),
            ("Of a key that has an account or is a member", tracker.registry, "MAX_OF_ACCOUNT"),
            ("Of another key", tracker.registry, "MAX_OF_STRANGER"),
            ("Of all keys without an account", tracker.registry, "MAX_OF_STRANGERS"),
            ("In all", tracker.registry, "MAX_TORRENTS"),
            ("Info-hashes that jobs name", tracker.registry, "MAX_HASHES"),
            ("Statements of a network for long, a second", tracker.api.torrents, "RATE"),
            ("Statements of a network at once", tracker.api.torrents, "BURST"),
        ),
    ),
    (
        "Signalling",
        (
            ("Message, bytes", workunits.wire.signalling, "MAX_MESSAGE"),
            ("Offers in one announce", workunits.wire.signalling, "MAX_OFFERS"),
            ("One SDP, bytes", workunits.wire.signalling, "MAX_SDP"),
            ("Interval, seconds", tracker.announce.signalling, "INTERVAL"),
            ("Life of an offer, seconds", tracker.announce.signalling, "OFFER_TTL"),
            ("Swarms of one socket", tracker.announce.signalling, "MAX_MEMBERSHIPS"),
            ("Unanswered offers of one socket", tracker.announce.signalling, "MAX_OUTSTANDING"),
            ("Sockets", tracker.announce.handlers, "MAX_SOCKETS"),
            ("Sockets of one network", tracker.announce.handlers, "MAX_NETWORK_SOCKETS"),
        ),
    ),
    (
        "Blobs and peer wire",
        (
            ("Blob, bytes", workunits.metainfo, "MAX_LENGTH"),
            ("Info dictionary, bytes", workunits.metainfo, "MAX_INFO"),
            ("Least piece length", workunits.metainfo, "MIN_PIECE"),
            ("Most piece length", workunits.metainfo, "MAX_PIECE"),
            ("Pieces aimed at", workunits.metainfo, "PIECES_AIM"),
            ("Block asked for by us, bytes", workunits.metainfo, "LEAF_SIZE"),
            ("Block served or taken, most", client.peers.protocol, "MAX_BLOCK"),
            ("Requests queued (`reqq`)", client.peers.protocol, "QUEUE_LIMIT"),
            ("Bytes of one data channel message", client.peers.webrtc, "MESSAGE_SIZE"),
            ("Seconds before the web seed is asked", client.peers.swarm, "GRACE"),
            ("Blob in the web seed, bytes", tracker.blobs, "MAX_BLOB"),
            ("Web seed in all, bytes", tracker.blobs, "QUOTA"),
        ),
    ),
    ("REST", (("Rows of a page", tracker.api.handlers, "MAX_PAGE"),)),
)


def limits() -> str:
    """Every limit that a client can run into, from the constants of the code."""
    lines = ["| limit | value | constant |", "|---|---|---|"]
    for title, rows in _LIMITS:
        lines.append(f"| **{title}** | | |")
        for what, module, constant in rows:
            place = f"{module.__name__}.{constant}"
            lines.append(f"| {what} | {_number(getattr(module, constant))} | `{place}` |")
    return "\n".join(lines)


def patience() -> str:
    """How long the desk waits."""
    source = inspect.getsource(tracker.work.floor.Patience)
    found = re.findall(r'    (\w+): float = ([\d.]+)\n    """(.+?)"""', source, re.DOTALL)
    rows = [f"| {float(value):g} s | {' '.join(what.split())} |" for _, value, what in found]
    return "\n".join(["| how long | for what |", "|---|---|", *rows])


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.12g}"


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "vectors": ("docs/protocol.md", vector_lines),
    "limits": ("docs/protocol.md", limits),
    "patience": ("docs/protocol.md", patience),
    "demands": ("docs/protocol.md", demands),
    "checkpoint": ("docs/ledger.md", checkpoint),
    "policies": ("docs/design.md", policies),
    "settings": ("docs/jobs.md", settings),
    "executions": (
        "docs/design.md",
        lambda: transitions(tracker.work.table.EXECUTION, "EXECUTION"),  # type: ignore[arg-type]
    ),
    "units": (
        "docs/design.md",
        lambda: transitions(tracker.work.table.UNIT, "UNIT"),  # type: ignore[arg-type]
    ),
    "questions": (
        "docs/design.md",
        lambda: transitions(tracker.work.table.QUESTION, "QUESTION"),  # type: ignore[arg-type]
    ),
    "profile": ("docs/sandbox.md", profile),
    "bars": ("docs/trust.md", lambda: findings.bars(study.read(TRUST))),
    "counts": ("docs/trust.md", lambda: findings.counts(study.read(TRUST))),
    "cells-ours": (
        "docs/trust.md",
        lambda: findings.cells(study.read(TRUST), (study.ECONOMY, study.STRICT), large=True),
    ),
    "calibration": ("docs/models.md", lambda: report.page(report.read(MODELS))),
    "cells-others": (
        "docs/trust.md",
        lambda: findings.cells(study.read(TRUST), study.SMALL, large=False),
    ),
}
"""Name of a part, the page that it is in, and what makes it."""


def rendered(text: str) -> str:
    """``text`` with every part made anew."""
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]][1]()}\n{match[3]}", text)


def parts_of(text: str) -> list[str]:
    """The names of the parts in ``text``."""
    return [match[2] for match in _PART.finditer(text)]


def main() -> None:
    """Write every part into its page."""
    for name in sorted({place for place, _ in PARTS.values()}):
        found = page(name)
        found.path.write_text(rendered(found.text), encoding="utf-8")
        print(f"{found.path.relative_to(ROOT)}: {', '.join(parts_of(found.text))}")


if __name__ == "__main__":
    main()
