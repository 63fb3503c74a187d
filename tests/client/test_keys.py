"""Key files: made once, for their owner only, and every mistake has a hint."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.keys import (
    KeyFileError,
    create,
    load,
    load_or_create,
    load_vouch,
    save_vouch,
)
from workunits.errors import LocalError
from workunits.signing import Identity
from workunits.wire.handshake import Vouch

OWNER = Identity.from_seed(b"o" * 32)
PEER = Identity.from_seed(b"p" * 32)


def test_a_new_key_is_one_private_line_that_loads_as_the_same_identity(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    identity = create(path)
    assert load(path).key == identity.key == load_or_create(path).key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().count("\n") == 1
    assert [each.name for each in path.parent.iterdir()] == ["key"]


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    identity = create(path)
    with pytest.raises(KeyFileError, match="exists already") as caught:
        create(path)
    assert caught.value.hint
    assert load(path).key == identity.key
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_all_who_come_at_the_same_time_get_the_same_key(tmp_path: Path) -> None:
    found: set[bytes] = set()
    threads = [
        threading.Thread(target=lambda: found.add(load_or_create(tmp_path / "key").key))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_can_read_is_refused_with_the_command_that_fixes_it(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "key"
    create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError) as caught:
        load(path)
    assert caught.value.hint == f"Run: chmod 600 {path}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"openswarm-key-v1\n",
        b"openswarm-key-v1 " + b"ab" * 31 + b"\n",
        b"openswarm-key-v1 " + b"ab" * 33 + b"\n",
        b"openswarm-key-v2 " + b"ab" * 32 + b"\n",
        b"openswarm-key-v1 " + b"xy" * 32 + b"\n",
        b"openswarm-key-v1 " + b"ab" * 32 + b"\n\n",
        b"openswarm-key-v1 " + b"ab" * 32 + b"\nmore\n",
        b"ab" * 32,
        b"\xff" * 600,
    ],
)
def test_what_is_not_a_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not a key file") as caught:
        load(path)
    assert caught.value.hint


@given(content=st.binary(max_size=600))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_breaks_the_reader(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        load(path)
    with pytest.raises(KeyFileError):
        load_vouch(path, PEER.key)


def test_a_missing_key_and_one_in_no_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file") as caught:
        load(tmp_path / "none")
    assert caught.value.hint
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError) as caught_too:
        create(tmp_path / "file" / "key")
    assert caught_too.value.hint


def test_a_folder_or_a_pipe_is_not_a_key_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(KeyFileError):
            load(path)


def test_a_dangling_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError):
        load_or_create(tmp_path / "key")
    assert not (tmp_path / "elsewhere").exists()


def test_a_vouch_is_kept_beside_the_key(tmp_path: Path) -> None:
    path = tmp_path / "vouch"
    assert load_vouch(path, PEER.key) is None
    vouch = Vouch.sign(OWNER, PEER.key)
    save_vouch(path, vouch)
    assert load_vouch(path, PEER.key) == vouch


def test_a_vouch_for_another_peer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vouch"
    save_vouch(path, Vouch.sign(OWNER, OWNER.key))
    with pytest.raises(KeyFileError, match="another peer") as caught:
        load_vouch(path, PEER.key)
    assert caught.value.hint


@pytest.mark.parametrize("content", ["", "zz", "6c65", "le", b"i1e".hex()])
def test_what_is_not_a_vouch_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vouch"
    path.write_text(content)
    with pytest.raises(KeyFileError, match="not a vouch"):
        load_vouch(path, PEER.key)
