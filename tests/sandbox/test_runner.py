"""The vocabulary refuses what could not be run safely."""

from pathlib import Path

import pytest

from sandbox.runner import MAX_COMMAND, Limits, Mount, Program, Task
from workunits.errors import MalformedError

HERE = Path(__file__)
IMAGE = "sha256:" + "a" * 64
LIMITS = Limits(1, 1, 1, 0)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/a", ".hidden", "-x", "a\0b", "a\n", "é", "x" * 101, "a b"]
)
def test_a_name_that_is_no_plain_file_name_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        Mount(name, HERE)
    with pytest.raises(MalformedError):
        Task(("true",), (), (name,), None)


@pytest.mark.parametrize(
    "values", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, -1), (float("nan"), 1, 1, 1)]
)
def test_limits_must_be_amounts(values: tuple[float, float, int, int]) -> None:
    with pytest.raises(MalformedError):
        Limits(*values)


@pytest.mark.parametrize("image", ["", "debian", "sha256:AA", "sha256:" + "g" * 64, IMAGE + "\n"])
def test_an_image_is_a_content_hash(image: str) -> None:
    with pytest.raises(MalformedError):
        Program(image, (), LIMITS)


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(MalformedError):
        Program(IMAGE, (Mount("a", HERE), Mount("a", HERE)), LIMITS)
    with pytest.raises(MalformedError):
        Task(("true",), (), ("a", "a"), None)
    with pytest.raises(MalformedError):
        Task(("true",), tuple(Mount(f"f{i}", HERE) for i in range(65)), (), None)


def test_an_input_is_in_a_folder_of_its_task_or_in_none() -> None:
    a, b = Mount("file", HERE, "a"), Mount("file", HERE, "b")
    assert (a.place, Mount("file", HERE).place) == ("a/file", "file")
    Task(("true",), (a, b, Mount("file", HERE)), (), None, ("a", "b"))
    for inputs, folders in (
        ((a,), ()),
        ((a, b), ("a",)),
        ((a, a), ("a",)),
        ((Mount("a", HERE),), ("a",)),
        ((), ("a", "a")),
        ((), ("a/b",)),
        ((), ("..",)),
    ):
        with pytest.raises(MalformedError):
            Task(("true",), inputs, (), None, folders)
    with pytest.raises(MalformedError):
        Program(IMAGE, (a,), LIMITS)


@pytest.mark.parametrize("command", [(), ("",), ("a\0b",), ("a", "x" * MAX_COMMAND)])
def test_a_command_must_be_one(command: tuple[str, ...]) -> None:
    with pytest.raises(MalformedError):
        Task(command, (), (), None)


def test_standard_output_goes_to_a_declared_output() -> None:
    assert Task(("true",), (), ("a",), "a").stdout == "a"
    with pytest.raises(MalformedError):
        Task(("true",), (), ("a",), "b")
