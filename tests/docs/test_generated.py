"""What the documentation says of the code is what the code says."""

import ast
import re

import pytest

from client.peers import company, engine, upload, webrtc
from client.peers.protocol import MAX_BLOCK
from tests.docs import render
from tests.docs.pages import ROOT, page
from tests.docs.vectors import TRACKER, log, vectors
from tracker import sessions
from tracker.announce import signalling, swarms
from tracker.work import floor, fresh, larder, leasing, table
from validators.audit import Audit
from validators.reputation import HALF_LIFE, STRIKES
from validators.settings import DAY
from workunits import entries
from workunits.beacon import LINKS
from workunits.manifest import MAX_NUMERIC_OUTPUT
from workunits.results import INLINE_LIMIT
from workunits.signing import Domain
from workunits.statements import MAX_AGE
from workunits.wire.holds import MAX_HELD
from workunits.wire.work import MAX_HOLD


@pytest.mark.parametrize("name", render.PARTS)
def test_a_rendered_part_stands_in_its_page(name: str) -> None:
    place, _ = render.PARTS[name]
    assert render.parts_of(page(place).text).count(name) == 1


@pytest.mark.parametrize("place", sorted({place for place, _ in render.PARTS.values()}))
def test_rendered_parts_are_current(place: str) -> None:
    found = page(place).text
    assert found == render.rendered(found), "run: .venv/bin/python -m tests.docs.render"


def test_the_vectors_in_the_protocol_are_what_the_code_gives() -> None:
    block = next(
        block.text for block in page("docs/protocol.md").blocks("text") if "peer seed" in block.text
    )
    assert render.parse_vectors(block) == vectors()


def test_every_transition_has_a_guard_in_the_tables() -> None:
    for name, rows in (("EXECUTION", table.EXECUTION), ("UNIT", table.UNIT)):
        lines = render.transitions(rows, name).splitlines()[2:]  # type: ignore[arg-type]
        assert len(lines) == len(rows)
        assert not [line for line in lines if line.endswith("|  |")]


def test_every_signature_domain_is_in_the_protocol() -> None:
    text = page("docs/protocol.md").text
    for domain in Domain:
        assert f"`{domain.value.decode()[:-1]}\\n`" in text


def test_every_rest_route_is_in_the_protocol() -> None:
    from tracker.api.handlers import Api
    from tracker.api.log import Log
    from tracker.api.models import Models
    from tracker.api.torrents import Torrents

    text = page("docs/protocol.md").text
    every = (
        *Api.routes(_Nothing()),  # type: ignore[arg-type]
        *Log.routes(_Nothing()),  # type: ignore[arg-type]
        *Torrents.routes(_Nothing()),  # type: ignore[arg-type]
        *Models.routes(_Nothing()),  # type: ignore[arg-type]
    )
    routes = {f"{route.method} {route.path}" for route in every}
    described = set(re.findall(r"^\| `([A-Z]+ /api/v1/\S+)` \|", text, re.MULTILINE))
    assert described == routes


def test_every_ledger_entry_is_in_the_protocol() -> None:
    text = page("docs/protocol.md").text
    found = [
        entries.parse(bytes.fromhex(raw)) for name, raw in vectors().items() if "entry" in name
    ]
    assert {each.t for each in found} == set(entries._KINDS)
    for kind in entries._KINDS:
        (row,) = re.findall(rf"^\| `{kind}` \| ([^|]*)\| .* \|$", text, re.MULTILINE)
        said = [frozenset(each.value()) for each in found if each.t == kind]
        every = said[0].union(*said)
        assert set(re.findall(r"`(\w+)`", row)) == every, kind
        for field in every - said[0].intersection(*said):
            assert f"perhaps `{field}`" in row, kind


def test_the_ledger_in_the_protocol_holds() -> None:
    audit = Audit(TRACKER.key)
    for raw in log():
        audit.take(raw)
    assert audit.root.hex() == vectors()["ledger root"]
    assert audit.on_trust == 0


def test_every_message_of_the_work_session_is_in_the_protocol() -> None:
    from workunits.wire import work

    text = page("docs/protocol.md").text
    for kind in (*work._TRACKER_TYPES, *work._PEER_TYPES):
        assert re.search(rf"^\| `{kind}` \|", text, re.MULTILINE), kind


def test_every_statement_and_error_code_is_in_the_protocol() -> None:
    from tracker.api import errors
    from workunits import statements

    text = page("docs/protocol.md").text
    codes = {kind.code for kind in errors._STATUS} - {"remote"}
    for name in (*statements._TYPES, *codes):
        assert f"`{name}`" in text, name


def test_the_environment_of_a_unit_is_in_the_protocol() -> None:
    source = (ROOT / "sandbox" / "harness.py").read_text(encoding="utf-8")
    found = next(
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ENVIRONMENT"
    )
    pairs = " ".join(f"{key}={value}" for key, value in ast.literal_eval(found).items())
    assert f"`{pairs}`" in page("docs/protocol.md").text


@pytest.mark.parametrize(
    "phrase",
    [
        f"{swarms.Limits().address_ttl / 60:g} minutes (HTTP)",
        f"{swarms.Limits().socket_ttl / 60:g} minutes (WebSocket)",
        f"within {signalling.OFFER_TTL:g} seconds",
        f"has {sessions.HELLO_SECONDS:g} seconds for `hello`",
        f"leaves {sessions.MAX_QUEUED:,} frames unread",
        f"kept for {floor.Patience().away:g} seconds",
        f"`{floor.Patience().lease:g} + first + each x ceil(",
        f"time to fetch {leasing.FETCHING >> 20} MiB a second",
        f"a job has {leasing.TURN} leases in a turn, and after {leasing.TURN} leases",
        f"among the next {fresh.LOOK} files",
        f"names at most {MAX_HELD:,} blobs",
        f"more than {larder.BURST} messages at once",
        f"After {STRIKES} wrong results",
        f"loses half of its worth in {HALF_LIFE / DAY:g} days",
        f"no new key of its owner is welcome for {floor.Patience().quarantine:g} seconds",
        f"within {floor.Patience().draw:g} seconds",
        f"After {floor.MAX_ATTEMPTS} leases",
        f"has {LINKS:,} links after its anchor",
        f"at most {INLINE_LIMIT:,} bytes (`exact`) or {MAX_NUMERIC_OUTPUT:,} bytes (`numeric`)",
        f"The time may be {MAX_AGE} seconds off",
        f"`hold` 0 to {MAX_HOLD:,}",
        f"at most {MAX_BLOCK // 1024} KiB are served",
        f"in turns of {upload.ROTATION:g} seconds",
        f"after {company.KEEPALIVE:g} seconds of silence",
        f"silent for {company.SILENCE_TIMEOUT:g} seconds",
        f"delivered anything for {engine.GRACE:g} seconds",
        f"label `{webrtc.LABEL}`",
    ],
)
def test_a_number_in_the_prose_is_the_one_in_the_code(phrase: str) -> None:
    assert phrase in page("docs/protocol.md").text


class _Nothing:
    """Stands for an ``Api`` of which only the routes are asked."""

    def __getattr__(self, name: str) -> object:
        return lambda request: None
