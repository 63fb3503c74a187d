"""Piece layers are collected from peers that may refuse, be slow or lie."""

from dataclasses import replace
from random import Random

import pytest

from client.peers import trees
from client.peers.layers import DEPTH, FORGIVENESS, MAX_USELESS, PATIENCE, AskHashes, Layers
from client.peers.trees import Trees
from workunits.errors import RemoteError
from workunits.hashtree import HashRequest, leaf_hashes
from workunits.ids import HASH_SIZE
from workunits.metainfo import hash_stream
from workunits.torrents import TorrentFile, TorrentInfo, of_blob, piece_root

CONTENT = Random(8).randbytes(40 * 16384 + 5)


class _Stream:
    def __init__(self, data: bytes) -> None:
        self.left = data

    def read(self, size: int, /) -> bytes:
        data, self.left = self.left[:size], self.left[size:]
        return data


INFO = of_blob(hash_stream(_Stream(CONTENT), len(CONTENT)).info)


def digests(info: TorrentInfo) -> bytes:
    span = info.piece_length
    parts = [CONTENT[at : at + span] for at in range(0, len(CONTENT), span)]
    return b"".join(piece_root(part, info, piece) for piece, part in enumerate(parts))


def read(offset: int, size: int) -> bytes:
    return CONTENT[offset : offset + size]


TREES = Trees(INFO, digests(INFO), read)


def asked(commands: list[AskHashes]) -> list[HashRequest]:
    return [command.request for command in commands]


def test_answers_of_one_peer_make_the_layer_of_another() -> None:
    at = Layers(INFO)
    assert at.root_of(0) == b"" and not at.needed
    requests = asked(at.join("a", 0.0))
    assert requests
    for request in requests:
        at.received("a", request, TREES.answer(request), 0.0)
    roots = b"".join(map(at.root_of, range(INFO.count)))
    assert roots == digests(INFO)


def test_a_lie_raises_and_the_part_is_asked_of_another_peer() -> None:
    at = Layers(INFO)
    (request,) = asked(at.join("liar", 0.0))
    with pytest.raises(RemoteError):
        at.received("liar", request, bytes(len(TREES.answer(request))), 0.0)
    assert asked(at.leave("liar", 0.0)) == []
    assert asked(at.join("honest", 0.0)) == [request]


def test_a_refusal_and_a_silence_pass_the_part_on() -> None:
    for how in ("refuses", "is silent"):
        at = Layers(INFO)
        (request,) = asked(at.join("useless", 0.0))
        assert at.join("good", 0.0) == []
        if how == "refuses":
            commands = at.rejected("useless", request, 0.0)
        else:
            assert at.tick(PATIENCE) == []
            commands = at.tick(PATIENCE + 1)
        assert commands == [AskHashes("good", request)]
        if how == "is silent":  # a late answer is no offence
            assert at.received("useless", request, b"", 0.0) == []


def test_hashes_that_nobody_asked_for_are_an_error() -> None:
    at = Layers(INFO)
    (request,) = asked(at.join("a", 0.0))
    at.join("b", 0.0)
    with pytest.raises(RemoteError, match="nobody asked"):
        at.received("b", request, TREES.answer(request), 0.0)


def test_no_peer_is_asked_for_more_than_a_few_parts_at_once() -> None:
    assert len(asked(Layers(INFO).join("a", 0.0))) <= DEPTH


def test_who_has_no_part_is_asked_for_few_and_for_all_again_later() -> None:
    files = tuple(
        TorrentFile((str(at),), 3 * 16384, 65536 * at, at.to_bytes(32, "big"))
        for at in range(1, 1000)
    )
    at = Layers(replace(INFO, files=files))
    requests, refused = asked(at.join("a", 0.0)), 0
    while requests:
        refused += 1
        requests += asked(at.rejected("a", requests.pop(), 0.0))
    assert refused < MAX_USELESS + DEPTH
    assert at.tick(FORGIVENESS) == [] and len(at.tick(FORGIVENESS + 1)) == DEPTH


def test_leaves_are_answered_out_of_the_content() -> None:
    file = INFO.files[0]
    request = HashRequest(file.root, 0, 4, 2, 0)
    piece = CONTENT[4 * 16384 : 6 * 16384]
    assert TREES.answer(request)[: 2 * HASH_SIZE] == leaf_hashes(piece)


def test_what_no_file_has_is_refused() -> None:
    assert TREES.answer(HashRequest(bytes(32), 0, 0, 2, 0)) == b""
    assert TREES.answer(HashRequest(INFO.files[0].root, 0, 4096, 2, 0)) == b""
    assert Trees(INFO, b"", read).answer(HashRequest(INFO.files[0].root, 0, 0, 2, 0)) == b""
    wrong = Trees(INFO, bytes(len(digests(INFO))), read)
    assert wrong.answer(HashRequest(INFO.files[0].root, 0, 0, 2, 0)) == b""


def test_what_content_must_be_read_for_has_its_price() -> None:
    large = Trees(replace(INFO, piece_length=65536), digests(INFO), read)
    root = INFO.files[0].root
    assert large.cost(HashRequest(root, 0, 0, 2, 0)) == 4
    assert large.cost(HashRequest(root, 0, 0, 8, 0)) == 8
    assert large.cost(HashRequest(root, 2, 0, 8, 0)) == 0
    assert large.cost(HashRequest(bytes(32), 0, 0, 2, 0)) == 0


def test_a_tree_that_does_not_fit_is_grown_once_only(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Trees(INFO, bytes(len(digests(INFO))), read)
    request = HashRequest(INFO.files[0].root, 0, 0, 2, 0)
    assert wrong.answer(request) == b""
    monkeypatch.setattr(trees, "HashTree", None)
    assert wrong.answer(request) == b""
