"""What an answer may be asked to look like: refused here before any peer is asked."""

import json

from workunits.errors import LimitError, MalformedError
from workunits.models.request import MAX_FORM
from workunits.models.schema import compile_form

_MAX_REASON = 300


def check_form(form: str) -> None:
    """Make sure that the grammar of the workers can follow ``form``: ``Request.form``.

    Empty is any text, ``json`` one JSON object, anything else a JSON schema. Raises
    ``MalformedError`` that names the keyword which is not supported, or ``LimitError``.
    """
    if not form:
        return
    if len(form) > MAX_FORM:
        raise LimitError(
            f"the JSON schema has {len(form):,} characters, and at most {MAX_FORM:,} are allowed",
            hint="Leave out descriptions, and name what is repeated under $defs.",
        )
    try:
        compile_form(form)
    except ValueError as error:
        raise MalformedError(
            f"the JSON schema cannot be followed: {str(error)[:_MAX_REASON]}",
            hint="docs/models.md lists the keywords that are; ask for any JSON object otherwise.",
        ) from None


def form_of(schema: object) -> str:
    """The form of a parsed JSON schema, checked. Raises as ``check_form`` does."""
    try:
        text = json.dumps(schema, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise MalformedError("the JSON schema is not JSON") from None
    # json leaves the one control character of ASCII that is above the letters as it is.
    form = text.replace("\x7f", "\\u007f")
    check_form(form)
    return form
