"""Probabilities of tokens, in the two shapes that OpenAI's API has for them."""

from collections.abc import Sequence

from tracker.endpoint.language import Language
from tracker.endpoint.narration import Weighed
from workunits.wire.models import Likely

LEAST = -9999.0
"""What stands for minus infinity, which JSON does not have."""


def of_chat(language: Language, weighed: Sequence[Weighed], top: int) -> dict[str, object]:
    """``choice.logprobs`` of a chat; ``top`` counts the token itself and its alternatives."""
    content = []
    for each in weighed:
        about = _token(language, each.likely[0])
        about["top_logprobs"] = [_token(language, one) for one in best(each.likely, top - 1)]
        content.append(about)
    return {"content": content, "refusal": None}


def of_completion(
    language: Language, weighed: Sequence[Weighed], top: int, offset: int = 0
) -> dict[str, object]:
    """``choice.logprobs`` of a completion; ``offset`` is where in the choice its answer begins."""
    tops = []
    for each in weighed:
        found: dict[str, float] = {}
        for one in (*best(each.likely, top - 1), each.likely[0]):
            found.setdefault(_text(language.piece(one.id)), _weight(one))
        tops.append(found)
    return {
        "tokens": [_text(language.piece(each.likely[0].id)) for each in weighed],
        "token_logprobs": [_weight(each.likely[0]) for each in weighed],
        "top_logprobs": tops if top > 1 else None,
        "text_offset": [offset + each.start for each in weighed],
    }


def best(likely: Sequence[Likely], most: int) -> list[Likely]:
    """The most probable, each token once, the best first."""
    found = {one.id: one for one in reversed(likely)}
    return sorted(found.values(), key=lambda one: (-one.logprob, one.id))[: max(0, most)]


def _token(language: Language, one: Likely) -> dict[str, object]:
    piece = language.piece(one.id)
    return {"token": _text(piece), "logprob": _weight(one), "bytes": list(piece)}


def _weight(one: Likely) -> float:
    return max(one.logprob, LEAST)


def _text(piece: bytes) -> str:
    return piece.decode(errors="replace")
