"""What the documentation says of the code is what the code says."""

import re

import pytest

from tests.docs import render
from tests.docs.pages import page
from tests.docs.vectors import vectors
from tracker.work import table
from workunits.signing import Domain


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

    text = page("docs/protocol.md").text
    routes = {f"{route.method} {route.path}" for route in Api.routes(_Nothing())}  # type: ignore[arg-type]
    described = set(re.findall(r"^\| `([A-Z]+ /api/v1/\S+)` \|", text, re.MULTILINE))
    assert described == routes


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


class _Nothing:
    """Stands for an ``Api`` of which only the routes are asked."""

    def __getattr__(self, name: str) -> object:
        return lambda request: None
