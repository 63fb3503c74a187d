"""Every error says whose fault it is, has a code of its own, and can carry a hint."""

import importlib
import pkgutil

import pytest

import tracker
import validators
import workunits
from workunits.errors import Blame, LocalError, RemoteError, SwarmError


def every_error() -> list[type[SwarmError]]:
    for package in (workunits, validators, tracker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found, seen = [SwarmError], []
    while found:
        kind = found.pop()
        seen.append(kind)
        found += [each for each in kind.__subclasses__() if each not in seen]
    ours = ("workunits.", "validators.", "tracker.")
    return sorted((kind for kind in seen if kind.__module__.startswith(ours)), key=str)


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_an_error_documents_itself_and_says_whose_fault_it_is(kind: type[SwarmError]) -> None:
    assert kind.__doc__
    assert kind.code
    assert kind.code.islower()
    if issubclass(kind, RemoteError):
        assert kind.blame is Blame.THEIRS
    if issubclass(kind, LocalError):
        assert kind.blame is Blame.OURS
    assert issubclass(kind, RemoteError | LocalError) or kind is SwarmError


PLAIN = [kind for kind in every_error() if kind.__init__ is SwarmError.__init__]


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.__name__)
def test_an_error_carries_its_message_and_a_hint(kind: type[SwarmError]) -> None:
    error = kind("it broke", hint="Mend it.")
    assert (str(error), error.message, error.hint) == ("it broke", "it broke", "Mend it.")
    assert kind("it broke").hint == ""
