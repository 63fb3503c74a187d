"""The job under which a model is asked: a manifest that holds, and money that is enough."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.endpoint.tiny import CONTEXT, card
from tests.tracker.work.world import OPERATOR
from tracker.endpoint.catalogue import Published
from tracker.endpoint.tab import CAPITAL, SPARE, Tab, cost, dearest, is_same, manifest_of
from tracker.work.state import Job, Unit
from workunits.ids import BlobRef
from workunits.manifest import Manifest, SignedManifest
from workunits.models.answer import meter
from workunits.models.card import ModelCard
from workunits.models.request import Request
from workunits.verification import Policy

NONCE = b"n" * 16


def published(made: ModelCard) -> Published:
    return Published(made.name, OPERATOR.key, BlobRef(b"c" * 32, b"d" * 20, 5), made, 7)


def manifest(made: ModelCard | None = None, policy: Policy = Policy.PAIR) -> Manifest:
    return manifest_of(published(made or card()), OPERATOR.key, policy, NONCE)


def request(prompt: int = 32, most: int = 100) -> Request:
    return Request((5,) * prompt, most, 0, NONCE)


def test_a_model_becomes_a_job_that_every_peer_can_read() -> None:
    made = manifest()
    assert Manifest.parse(made.encode()) == made
    assert made.is_asked
    model = made.program.model
    assert model is not None
    assert (model.context, model.most) == (CONTEXT, CONTEXT)
    assert (made.limits.memory_bytes, made.price) == (card().memory_bytes, 2)
    assert made.shared == card().image
    assert made.demands.same_platform
    assert made.comparator.by_digest and not made.comparator.by_margin


def test_a_card_with_gaps_is_checked_by_margin_on_any_platform() -> None:
    made = manifest(card(gaps=(10, 1000)))
    assert (made.comparator.mean_gap, made.comparator.most_gap) == (10, 1000)
    assert not made.demands.same_platform


@given(
    st.integers(0, 10**9),
    st.sampled_from([1, 2, 16, 1024, 32_768, 131_072]),
    st.sampled_from([Policy.PAIR, Policy.TRUSTED]),
)
def test_any_price_and_context_makes_a_job_that_covers_some_requests(
    price: int, context: int, policy: Policy
) -> None:
    made = manifest(card(price=price, context=context), policy)
    assert Manifest.parse(made.encode()) == made
    assert made.escrow > SPARE * dearest(made)


def test_a_request_costs_what_its_worker_and_its_checker_get() -> None:
    made = manifest()
    assert meter(request(), 100) == 102
    assert cost(made, request()) == 2 * 102 + 102
    assert cost(made, request(), 10) == 2 * 12 + 12
    assert cost(manifest(policy=Policy.TRUSTED), request()) == 2 * 102
    assert cost(made, request(most=10**4)) == cost(made, request(most=CONTEXT)), "it is cut there"
    assert cost(made, request(CONTEXT, CONTEXT)) == dearest(made)


def test_a_tab_is_used_up_when_little_is_left() -> None:
    job = Job(SignedManifest.sign(manifest(), OPERATOR), 0.0)
    tab = Tab("tiny", job)
    most = dearest(job.manifest)
    assert (tab.left, tab.idle, tab.used_up) == (CAPITAL * most, True, False)
    job.reserved = (CAPITAL - SPARE) * most
    job.units[0] = Unit(job, 0)
    assert (tab.idle, tab.used_up) == (False, False)
    job.paid = 1
    assert (tab.left, tab.used_up) == (SPARE * most - 1, True)


def test_a_job_is_taken_up_again_only_if_it_asks_the_same() -> None:
    made = manifest()
    assert is_same(made, manifest_of(published(card()), OPERATOR.key, Policy.PAIR))
    for other in (card(price=3), card("other"), card(context=512), card(gaps=(1, 2))):
        assert not is_same(made, manifest(other))
    assert not is_same(made, manifest(policy=Policy.TRUSTED))
    assert not is_same(made, manifest(replace(card(), file=BlobRef(b"X" * 32, b"x" * 20, 4096))))


def test_a_published_model_serves_what_its_card_says() -> None:
    served = published(card(price=5)).served(Policy.PAIR)
    assert (served.card.name, served.price, served.created) == ("tiny", 5, 7)
    with pytest.raises(AttributeError):
        served.price = 6  # type: ignore[misc]
