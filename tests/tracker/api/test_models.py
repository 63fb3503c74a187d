"""Published models and API keys over REST."""

import time
from io import BytesIO
from pathlib import Path

from tests.tracker.api.schema import problems
from tests.tracker.api.test_openapi import DOCUMENT, check
from tests.tracker.api.uploading import upload
from tests.tracker.endpoint.tiny import card
from tests.tracker.serving import Served, identity, served
from tests.tracker.work.world import SUBMITTER
from validators.audit import Audit
from workunits.ids import BlobRef
from workunits.metainfo import hash_stream
from workunits.models.apikey import hash_of, secret_of
from workunits.models.card import ModelCard
from workunits.passes import SignedPass
from workunits.signing import Identity
from workunits.statements import CloseKey, OpenKey, Publish, Withdraw

SECRET = secret_of(bytes(range(32)))
KEY = hash_of(SECRET)


def ref_of(raw: bytes) -> BlobRef:
    return hash_stream(BytesIO(raw), len(raw)).info.ref


async def publish(
    tracker: Served,
    made: ModelCard | None = None,
    author: Identity | None = SUBMITTER,
    name: str = "tiny",
    status: int = 200,
) -> dict[str, object]:
    raw = (made or card()).encode()
    await upload(tracker, raw)
    claim = Publish(name, ref_of(raw))
    answer: dict[str, object] = await tracker.say(tracker.sign(claim, author), status)
    return answer


async def audit(tracker: Served) -> None:
    """Replay the ledger as a stranger would."""
    replayed = Audit(tracker.running.identity.key)
    for entry in (await tracker.ask("/api/v1/ledger"))["entries"]:
        replayed.take(bytes.fromhex(entry["entry"]))


async def test_a_published_model_is_listed_tracked_and_has_a_job(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=1000)
        result = (await publish(tracker))["result"]
        assert isinstance(result, dict)
        job = await tracker.ask(f"/api/v1/jobs/{result['job']}")
        assert (job["state"], job["name"]) == ("active", "tiny")
        assert job["submitter"] == tracker.running.identity.key.hex()
        listed = await tracker.ask("/api/v1/models")
        check(listed, "/api/v1/models")
        (model,) = listed["models"]
        made = card()
        assert model["author"] == SUBMITTER.key.hex()
        assert model["file"]["v2"] == made.file.v2.hex()
        assert (model["holders"], model["rate"], model["price"]) == (0, 0.0, 2)
        registry = tracker.running.listing.registry
        for ref in (made.file, *made.image.refs):
            assert ref.v1 in registry and ref.v2[:20] in registry
    async with served(tmp_path) as tracker:
        again = await tracker.ask("/api/v1/models")
        assert again == listed
        jobs = await tracker.ask("/api/v1/jobs?state=active")
        assert [each["id"] for each in jobs["jobs"]] == [result["job"]], "it is taken up again"


async def test_capital_is_minted_in_public_and_comes_back_when_the_model_goes(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=1000)
        await publish(tracker)
        operator = tracker.running.identity.key
        ledger = await tracker.ask("/api/v1/ledger")
        mints = [each for each in ledger["entries"] if each["type"] == "mint"]
        escrow = ledger["entries"][-1]["moves"][0]["amount"]
        assert mints[-1]["moves"] == [{"from": "mint", "to": operator.hex(), "amount": escrow}]
        await tracker.say(tracker.sign(Withdraw("tiny"), SUBMITTER))
        tracker.running.parlour.look(0.0)
        await tracker.running.sessions.durable()
        assert (await tracker.ask("/api/v1/models")) == {"models": []}
        account = await tracker.ask(f"/api/v1/accounts/{operator.hex()}")
        assert account["balance"] == escrow
        await publish(tracker)
        assert (await tracker.ask("/api/v1/status"))["ledger"]["minted"] == escrow + 1000


async def test_a_card_that_is_no_card_or_is_not_there_is_not_published(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=1000)
        absent = tracker.sign(Publish("tiny", BlobRef(b"v" * 32, b"w" * 20, 9)), SUBMITTER)
        assert "Upload it first" in (await tracker.say(absent, 403))["error"]["hint"]
        await upload(tracker, b"no card")
        wrong = tracker.sign(Publish("tiny", ref_of(b"no card")), SUBMITTER)
        await tracker.say(wrong, 400)
        huge = tracker.sign(Publish("tiny", BlobRef(b"v" * 32, b"w" * 20, 1 << 40)), SUBMITTER)
        await tracker.say(huge, 413)
        assert (await tracker.ask("/api/v1/models")) == {"models": []}


async def test_strangers_publish_nothing_and_nobody_takes_anothers_name(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=1000)
        stranger = identity("stranger")
        answer = await publish(tracker, author=stranger, status=403)
        assert problems(DOCUMENT, {"$ref": "#/components/schemas/Error"}, answer) == []
        await publish(tracker)
        await tracker.grant(stranger.key, 5)
        for claim in (Publish("tiny", ref_of(card().encode())), Withdraw("tiny")):
            answer = await tracker.say(tracker.sign(claim, stranger), 403)
            assert "somebody else's" in str(answer)
        await publish(tracker, card(price=9), author=None)
        (model,) = (await tracker.ask("/api/v1/models"))["models"]
        assert model["price"] == 9, "the operator may"


async def test_a_statement_that_is_said_twice_publishes_once(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=1000)
        raw = card().encode()
        await upload(tracker, raw)
        statement = tracker.sign(Publish("tiny", ref_of(raw)), SUBMITTER)
        await tracker.say(statement)
        assert (await tracker.say(statement))["repeated"]
        jobs = await tracker.ask("/api/v1/jobs?state=active")
        assert len(jobs["jobs"]) == 1


async def test_a_key_is_prepaid_shown_by_its_hash_and_paid_back(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=1000)
        opened = await tracker.say(tracker.sign(OpenKey(KEY, "editor", 300, 60), SUBMITTER))
        check(opened["result"], "/api/v1/keys/{hash}")
        assert (opened["result"]["left"], opened["result"]["closed"]) == (300, False)
        account = f"/api/v1/accounts/{SUBMITTER.key.hex()}"
        assert (await tracker.ask(account))["balance"] == 700
        shown = await tracker.ask(f"/api/v1/keys/{KEY.hex()}")
        check(shown, "/api/v1/keys/{hash}")
        assert (shown["budget"], shown["spent"], shown["reserved"]) == (300, 0, 0)
        await tracker.ask(f"/api/v1/keys/{'0' * 64}", status=404)
        assert tracker.running.parlour.keys.find(SECRET).name == "editor"
    async with served(tmp_path) as tracker:
        assert await tracker.ask(f"/api/v1/keys/{KEY.hex()}") == shown
        other = identity("other")
        await tracker.say(tracker.sign(CloseKey(KEY), other), 403)
        closed = await tracker.say(tracker.sign(CloseKey(KEY), SUBMITTER))
        assert closed["result"]["returned"] == 300
        assert (await tracker.ask(account))["balance"] == 1000
        await tracker.say(tracker.sign(OpenKey(KEY, "editor", 1, 60), SUBMITTER), 403)
        ledger = await tracker.ask("/api/v1/ledger")
        assert ledger["entries"][-1]["type"] == "transfer"
        await audit(tracker)


async def test_the_operator_opens_a_key_with_what_it_has(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        operator = tracker.running.identity.key
        await tracker.say(tracker.sign(OpenKey(KEY, "own", 300, 60)), 403)
        await tracker.grant(operator, 1000)
        await tracker.say(tracker.sign(OpenKey(KEY, "own", 300, 60)))
        closed = await tracker.say(tracker.sign(CloseKey(KEY)))
        assert closed["result"]["returned"] == 300
        account = await tracker.ask(f"/api/v1/accounts/{operator.hex()}")
        assert account["balance"] == 1000
        await audit(tracker)


async def test_what_a_key_prepaid_is_not_spent_on_jobs_of_models(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=10**6)
        await tracker.say(tracker.sign(OpenKey(KEY, "", 10**6, 60), SUBMITTER))
        await publish(tracker)
        account = f"/api/v1/accounts/{tracker.running.identity.key.hex()}"
        assert (await tracker.ask(account))["balance"] == 10**6
        closed = await tracker.say(tracker.sign(CloseKey(KEY)))
        assert closed["result"]["returned"] == 10**6, "the operator closes any key"


async def test_who_cannot_pay_opens_no_key(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        answer = await tracker.say(tracker.sign(OpenKey(KEY, "", 5, 60), SUBMITTER), 403)
        assert "has 0 credits" in answer["error"]["message"]
        assert len(tracker.running.parlour.keys) == 0


async def test_only_their_owner_lists_keys(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        await tracker.grant(amount=1000)
        await tracker.say(tracker.sign(OpenKey(KEY, "editor", 300, 60), SUBMITTER))
        operator, now = tracker.running.identity.key, int(time.time())
        mine = SignedPass.query(SUBMITTER, now + 60, operator)
        listed = await tracker.ask(f"/api/v1/keys?{mine}")
        check(listed, "/api/v1/keys")
        assert [each["name"] for each in listed["keys"]] == ["editor"]
        assert listed["keys"][0]["usage"] == []
        other = SignedPass.query(identity("other"), now + 60, operator)
        assert (await tracker.ask(f"/api/v1/keys?{other}")) == {"keys": []}
        await tracker.ask("/api/v1/keys", status=400)
        forged = mine.replace(SUBMITTER.key.hex(), identity("other").key.hex())
        await tracker.ask(f"/api/v1/keys?{forged}", status=403)
        old = SignedPass.query(SUBMITTER, now - 1, operator)
        await tracker.ask(f"/api/v1/keys?{old}", status=403)


async def test_models_are_on_the_page_and_no_jobs_there(tmp_path: Path) -> None:
    async with served(tmp_path) as tracker:
        assert (await tracker.ask("/stats.json"))["models"] == {}
        assert "<h2>Models</h2>" not in (await tracker.fetch("/")).decode()
        await tracker.grant(amount=1000)
        await publish(tracker)
        numbers = (await tracker.ask("/stats.json"))["models"]["tiny"]
        assert numbers["requests"] == numbers["generated"] == 0
        page = (await tracker.fetch("/")).decode()
        assert "<h2>Models</h2>" in page and "tiny" in page
        assert "No job is active." in page
        (job,) = (await tracker.ask("/api/v1/jobs"))["jobs"]
        assert (job["name"], job["asked"]) == ("tiny", True)
