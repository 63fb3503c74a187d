"""Names that come from outside and end up as file names, placeholders or labels."""

import re

from workunits.errors import MalformedError

MAX_NAME = 100
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def file_name(text: str, what: str) -> str:
    """Return ``text`` if it is a plain file name: no directories, no leading dot or dash."""
    if not _FILE.fullmatch(text):
        raise MalformedError(
            f"{what} {text[:80]!r} is not a plain file name",
            hint="Use letters, digits, '.', '_' and '-', without directories, at most 100.",
        )
    return text


def parameter_name(text: str, what: str) -> str:
    """Return ``text`` if it can stand between braces in a command."""
    if not _PARAMETER.fullmatch(text):
        raise MalformedError(
            f"{what} {text[:80]!r} is not a parameter name",
            hint="Use a letter, then letters, digits and '_', at most 32.",
        )
    return text


def plain_text(text: str, what: str) -> str:
    """Return ``text`` if it holds no control characters."""
    if not text.isprintable():
        raise MalformedError(f"{what} holds control characters")
    return text


def placeholders(template: str) -> tuple[str, ...]:
    """The parameter names that ``template`` mentions. Doubled braces stand for themselves."""
    names = []
    for match in _PLACEHOLDER.finditer(template):
        if match[0] in ("{{", "}}"):
            continue
        if match[1] is None:
            raise MalformedError(
                f"unbalanced brace in {template[:80]!r}",
                hint="Write '{{' or '}}' for a brace that is not a placeholder.",
            )
        names.append(match[1])
    return tuple(names)


def fill(template: str, parameters: dict[str, str]) -> str:
    """Replace every placeholder of ``template`` by its value."""

    def value(match: re.Match[str]) -> str:
        return match[0][0] if match[1] is None else parameters[match[1]]

    return _PLACEHOLDER.sub(value, template)
