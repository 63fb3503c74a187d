"""Names of models: first come, first served; what was published is found again."""

from dataclasses import replace

import pytest

from tests.tracker.endpoint.tiny import card
from tracker.endpoint import catalogue as place
from tracker.endpoint.catalogue import Catalogue
from tracker.endpoint.parlour import Served
from tracker.rows import ModelRow
from workunits.errors import LimitError, RefusedError
from workunits.ids import BlobRef, PeerKey
from workunits.models.card import ModelCard
from workunits.statements import Publish, Withdraw
from workunits.verification import Policy

OPERATOR, AUTHOR, OTHER, STRANGER = (PeerKey(letter * 32) for letter in (b"q", b"a", b"o", b"s"))
REF = BlobRef(b"c" * 32, b"d" * 20, 5)
CARD = card()


def fresh() -> Catalogue:
    return Catalogue(trusted=lambda key: key in (AUTHOR, OTHER), operator=OPERATOR)


def publish(
    known: Catalogue, author: PeerKey, name: str = "tiny", time: int = 10, made: ModelCard = CARD
) -> ModelRow:
    claim = Publish(name, REF)
    known.check(author, claim, time)
    return known.publish(author, claim, made, time)[1]


def withdraw(known: Catalogue, author: PeerKey, name: str = "tiny", time: int = 20) -> ModelRow:
    claim = Withdraw(name)
    known.check(author, claim, time)
    return known.withdraw(claim, time)


def test_a_model_is_found_under_the_name_that_it_was_published_with() -> None:
    known = fresh()
    row = publish(known, AUTHOR, "mine")
    assert row == ModelRow("mine", AUTHOR, REF.v2, REF.v1, 5, 10, 0)
    found = known.find("mine")
    assert found is not None
    served = found.served(Policy.PAIR)
    assert served == Served(replace(CARD, name="mine"), 10, CARD.price, checked=True)
    assert found.served(Policy.TRUSTED) == replace(served, checked=False)
    assert known.find("tiny") is None


def test_a_name_is_its_first_authors_and_the_operators() -> None:
    known = fresh()
    publish(known, AUTHOR)
    hints = []
    for claim in (Publish("tiny", REF), Withdraw("tiny")):
        with pytest.raises(RefusedError, match="somebody else's") as caught:
            known.check(OTHER, claim, 11)
        hints.append("another name" in caught.value.hint)
    assert hints == [True, False]
    publish(known, AUTHOR, time=11)
    publish(known, OPERATOR, time=12)
    with pytest.raises(RefusedError, match="somebody else's"):
        publish(known, AUTHOR, time=13)


def test_strangers_publish_nothing() -> None:
    with pytest.raises(RefusedError, match="have or had credit") as caught:
        publish(fresh(), STRANGER)
    assert STRANGER.hex() in caught.value.hint


def test_a_model_that_was_withdrawn_is_not_offered_and_keeps_its_name() -> None:
    known = fresh()
    publish(known, AUTHOR)
    assert withdraw(known, AUTHOR).withdrawn == 20
    assert known.all() == []
    with pytest.raises(RefusedError, match="somebody else's"):
        publish(known, OTHER, time=30)
    for name in ("tiny", "other"):
        with pytest.raises(RefusedError, match="no model"):
            withdraw(known, AUTHOR, name, time=30)
    publish(known, AUTHOR, time=30)
    assert [each.name for each in known.all()] == ["tiny"]


def test_an_old_statement_changes_nothing() -> None:
    known = fresh()
    publish(known, AUTHOR, time=10)
    withdraw(known, AUTHOR, time=20)
    with pytest.raises(RefusedError, match="later statement"):
        publish(known, AUTHOR, time=19)


def test_what_was_published_is_there_after_a_restart_unless_its_card_is_gone() -> None:
    known = fresh()
    rows = [publish(known, AUTHOR, name, time) for name, time in (("b", 10), ("a", 11), ("c", 12))]
    publish(known, AUTHOR, "d", 13)
    rows.append(withdraw(known, AUTHOR, "d"))
    again = fresh()
    asked: list[BlobRef] = []

    def read(ref: BlobRef) -> ModelCard | None:
        asked.append(ref)
        return None if len(asked) == 3 else CARD

    again.fill(rows, read)
    assert [each.name for each in again.all()] == ["b", "a"]
    assert asked == [REF] * 3, "what was withdrawn is not read"
    with pytest.raises(RefusedError, match="somebody else's"):
        publish(again, OTHER, "c", 30)
    publish(again, AUTHOR, "c", 30)


def test_the_number_of_models_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "MAX_OF_AUTHOR", 2)
    monkeypatch.setattr(place, "MAX_MODELS", 4)
    known = fresh()
    for name in ("a", "b"):
        publish(known, AUTHOR, name)
    with pytest.raises(LimitError, match="published 2"):
        publish(known, AUTHOR, "c")
    publish(known, AUTHOR, "b", 11)
    for name in ("c", "d"):
        publish(known, OPERATOR, name)
    for author in (OPERATOR, OTHER):
        with pytest.raises(LimitError, match="no more models"):
            publish(known, author, "e")
