"""The answers of a model as text, beside the raw ones: ``DIR/answers.jsonl``, one object a line."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from client.disk import replace_file
from workunits.errors import MalformedError
from workunits.models.answer import MAX_ANSWER, OUTPUT, Answer
from workunits.models.card import ModelCard

TABLE = "answers.jsonl"


def write_answers(folder: Path, rows: Iterable[Mapping[str, Any]], card: ModelCard) -> int:
    """Write the text of every answer that ``rows`` of a harvest in ``folder`` have; returns how
    many. An answer that is not here yet is left out.

    Raises ``MalformedError`` for an answer that is none, and ``OSError``.
    """
    lines = []
    for row in sorted(rows, key=lambda row: int(row["index"])):
        path = folder / str(row["index"]) / OUTPUT
        if OUTPUT not in row.get("outputs", {}) or not path.is_file():
            continue
        with path.open("rb") as stream:
            raw = stream.read(MAX_ANSWER + 1)
        try:
            answer = Answer.parse(raw)
        except MalformedError as error:
            raise MalformedError(f"unit {row['index']}: {error.message}") from None
        value = {
            "index": row["index"],
            "answer": card.tokenizer.text(answer.tokens),
            "finish": answer.finish.value,
            "tokens": len(answer.tokens),
        }
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    replace_file(folder / TABLE, "".join(lines).encode())
    return len(lines)
