"""Tables of the commands: each fits a narrow terminal, and says enough to go on with."""

from dataclasses import replace

import pytest

from client.api_keys import ApiKeyView
from client.commands.api_key import show_keys
from client.commands.credits import show_accounts, show_peers
from client.commands.image import show_images, show_layers
from client.commands.jobs import show_jobs
from client.commands.model import show_models
from client.models.view import ModelView
from client.terminal import date
from client.views import AccountView, Counts, DemandsView, Escrow, JobView, PeerView
from workunits.ids import BlobRef, JobId, PeerKey
from workunits.manifest import NO_DEMANDS

NARROW = 80
NOW = 1_750_000_000.0
KEY = PeerKey(bytes.fromhex("3f2a91c0ffee" + "7" * 52))
REF = BlobRef(b"\xab" * 32, b"\xab" * 20, (1 << 30) * 1000)
IMAGE = "sha256:" + "9f" * 32

ACCOUNT = AccountView(
    account=KEY.hex(),
    balance=12_345_678,
    earned=98_765_432,
    spent=86_419_754,
    right=123_456,
    wrong=123,
    withheld=0,
    late=5,
    verified=1000,
    strikes=2,
    doubted=True,
    banned=False,
)
PEER = PeerView(
    key=KEY,
    owner=PeerKey(b"\xcd" * 32),
    role="validator",
    cores=4096,
    agent="open-swarm",
    leases=4096,
    connected=True,
    right=1,
    wrong=1,
    withheld=1,
    late=1,
    verified=123_456,
    strikes=2,
    doubted=True,
    banned=False,
)
JOB = JobView(
    id=JobId(KEY),
    name="digits-of-pi-to-a-million",
    submitter=KEY,
    policy="economy",
    comparator="exact",
    demands=DemandsView.of(NO_DEMANDS),
    price=1,
    units=1_000_000,
    counts=Counts(0, 0, 0, 250_000, 500_000, 99_999, 150_001),
    executions=0,
    wrong=0,
    escrow=Escrow(0, 0, 0),
    state="cancelled",
    created=NOW - 4000,
    reason="",
)
MODEL = ModelView(
    name="qwen3-30b-a3b-instruct-2507",
    card=REF,
    file=REF,
    architecture="qwen3moe",
    quantisation="Q4_K_M",
    context=131_072,
    licence="apache-2.0",
    parameters=30_000_000_000,
    engine="ctransformers",
    image=IMAGE,
    price=1000,
    mean_gap=0,
    most_gap=0,
    memory=1 << 34,
    created=0,
    holders=1000,
    rate=123.4,
)
API_KEY = ApiKeyView(
    hash=KEY,
    name="the editor on my desk",
    budget=20_000_000,
    spent=12_345_678,
    reserved=1000,
    left=7_653_322,
    per_minute=10_000,
    requests=123_456,
    created=0,
    closed=True,
)


def read(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of what was printed, none of which is too long."""
    lines = capsys.readouterr().out.splitlines()
    for line in lines:
        assert len(line) <= NARROW, f"{len(line)} columns: {line}"
    return lines


def test_accounts_are_named_by_what_finds_them(capsys: pytest.CaptureFixture[str]) -> None:
    escrow = replace(ACCOUNT, account=f"escrow:{KEY.hex()}", doubted=False, banned=True)
    empty = replace(ACCOUNT, account=f"escrow:{'8' * 64}", balance=0)
    mint = replace(ACCOUNT, account="mint", balance=-12_345_678)
    head, mine, held, minted = read_accounts(capsys, ACCOUNT, escrow, empty, mint)
    assert head.split() == ["account", "balance", "earned", "spent", "right", "strikes"]
    numbers = ["12,345,678", "98,765,432", "86,419,754", "123,456", "2"]
    assert mine.split() == ["3f2a91c0ffee", *numbers, "doubted"]
    assert held.split() == ["escrow:3f2a91c0f", *numbers, "banned"]
    assert minted.split()[:2] == ["mint", "-12,345,678"]
    assert KEY.hex().startswith(mine.split()[0])


def read_accounts(capsys: pytest.CaptureFixture[str], *accounts: AccountView) -> list[str]:
    """The table of these accounts."""
    show_accounts(accounts)
    return read(capsys)


def test_one_account_is_a_row_too(capsys: pytest.CaptureFixture[str]) -> None:
    _, row = read_accounts(capsys, ACCOUNT)
    assert row.startswith("3f2a91c0ffee  12,345,678  ")


def test_peers_are_here_or_away_or_in_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    good = replace(PEER, doubted=False)
    show_peers((PEER, good, replace(good, connected=False, role="referee")))
    _, *rows = read(capsys)
    assert [row.split()[2:4] for row in rows] == [
        ["validator", "doubted"],
        ["validator", "here"],
        ["referee", "away"],
    ]
    assert rows[0].split()[:2] == ["3f2a91c0ffee", "cdcdcdcdcdcd"]


def test_jobs_say_how_far_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    half = replace(
        JOB,
        name="pi",
        units=8,
        counts=Counts(4, 0, 0, 1, 2, 1, 0),
        state="active",
        created=NOW - 86_400 * 400,
    )
    show_jobs((JOB, half, replace(half, asked=True, counts=Counts(0, 0, 0, 1, 2, 1, 9))), NOW)
    _, whole, part, asked = read(capsys)
    words = "3f2a91c0ffee  digits-of-pi-...  cancelled  1,000,000  100%  99,999  "
    assert whole.startswith(words)
    assert part.split() == [
        "3f2a91c0ffee",
        "pi",
        "active",
        "8",
        "50%",
        "1",
        date(half.created)[:10],
    ]
    assert asked.split()[3:5] == ["-", "4"]


def test_models_have_the_name_that_they_are_asked_by(capsys: pytest.CaptureFixture[str]) -> None:
    show_models((MODEL, replace(MODEL, rate=0)))
    _, fast, unknown = read(capsys)
    words = [MODEL.name, "Q4_K_M", "1000", "GiB", "131,072", "1,000", "1,000"]
    assert fast.split() == [*words, "123.4"]
    assert unknown.split() == [*words, "-"]


def test_api_keys_say_what_they_have_left(capsys: pytest.CaptureFixture[str]) -> None:
    show_keys((API_KEY,))
    _, row = read(capsys)
    left = "3f2a91c0ffee  the editor on...  7,653,322  12,345,678"
    assert row == f"{left}   123,456  10,000  closed"


def test_images_keep_their_whole_hash_and_layers_its_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_images([{"image": IMAGE, "size": 3 << 20, "names": ["debian:bookworm", "debian:12"]}])
    assert read(capsys) == [IMAGE, "    3.0 MiB, debian:bookworm, debian:12"]
    show_layers([{"diff": KEY, "length": 5 << 20, "v2": b"\xab" * 32}])
    _, row = read(capsys)
    assert row.split() == ["3f2a91c0ffee", "5.0", "MiB", "abababababab"]
