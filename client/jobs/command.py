"""Commands in a job file: a list of words, or one string that is split like a shell splits it."""

import shlex
from collections.abc import Sequence

from client.jobs.table import REQUIRED, Notes, Table
from client.jobs.toml_lines import KeyPath
from workunits.errors import MalformedError
from workunits.names import placeholders, plain_text
from workunits.verification import MAX_ARGUMENT


def read_command(table: Table, count: int, hint: str) -> list[str]:
    """Take ``command``, of at most ``count`` words; ``hint`` says how one looks."""
    value = table.take("command", hint=hint)
    words: list[str] = []
    if isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError as error:
            table.wrong("command", f"cannot be split: {error}".lower())
            return []
    elif isinstance(value, list):
        for at, word in enumerate(value):
            if isinstance(word, str):
                words.append(word)
            else:
                table.notes.add((*table.path, "command", at), "a command holds strings only")
    elif value is not REQUIRED:
        table.wrong("command", "must be a list of strings or one string")
        return []
    if value is not REQUIRED and not any(words[:1]):
        table.wrong("command", "is empty")
    if len(words) > count:
        table.wrong("command", f"has {len(words)} words, more than {count}")
    return words


def check_word(notes: Notes, word: str, key: KeyPath, known: Sequence[str], hint: str) -> list[str]:
    """Note what is wrong with one word; returns the placeholders in it. ``known`` are those that
    it may use, ``hint`` says what to do about others."""
    if len(word.encode()) > MAX_ARGUMENT:
        notes.add(key, f"a word of the command is over {MAX_ARGUMENT:,} bytes")
    try:
        plain_text(word, "the command")
        used = list(placeholders(word))
    except MalformedError as error:
        notes.add_error(key, error)
        return []
    for name in used:
        if name not in known:
            notes.add(key, f"the command uses {{{name}}}, which is not a parameter", hint)
    return used
