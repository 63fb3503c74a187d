"""Answers in the shapes of OpenAI's API: chats and completions, whole and in chunks. Pure.

Every chunk and every whole answer has one field more, ``swarm`` (``tracker.endpoint.verdicts``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tracker.endpoint import weights
from tracker.endpoint.inquiry import Inquiry, Outcome
from tracker.endpoint.narration import Piece, Weighed
from tracker.endpoint.verdicts import UNVERIFIED, verdict, verdicts

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the answers to one request have in common. ``leads`` are put before the answers to
    each prompt (``echo``)."""

    inquiry: Inquiry
    id: str
    created: int
    chat: bool
    leads: tuple[str, ...] = field(default=())

    def whole(self, outcomes: Sequence[Outcome]) -> Json:
        """The answer of a request that does not stream."""
        told = [verdict(each) for each in (outcome.settled for outcome in outcomes)]
        choices = [self._choice(outcome) for outcome in outcomes]
        if len(told) > 1:
            choices = [choice | {"swarm": each} for choice, each in zip(choices, told, strict=True)]
        return self._head("chat.completion" if self.chat else "text_completion") | {
            "choices": choices,
            "usage": self.usage(outcomes),
            "swarm": verdicts(told),
        }

    def opening(self, index: int) -> Json | None:
        """The first chunk of an answer, before any of its text; None if there is none."""
        if self.chat:
            delta: Json = {"role": "assistant", "content": "", "refusal": None}
            return self._chunk(self._delta(index, delta, None, None), UNVERIFIED)
        lead = self._lead(index)
        return self._chunk(self._part(index, lead, None, None), UNVERIFIED) if lead else None

    def more(self, index: int, piece: Piece, swarm: Json = UNVERIFIED) -> Json:
        """A chunk with more text."""
        logprobs = self._logprobs(index, piece.weighed) if self._weighs else None
        if self.chat:
            return self._chunk(self._delta(index, {"content": piece.text}, None, logprobs), swarm)
        return self._chunk(self._part(index, piece.text, None, logprobs), swarm)

    def closing(self, outcome: Outcome, *, shown: bool) -> Json:
        """The last chunk of an answer, with its verdict; ``shown`` is whether text was sent before
        it, which then may have to be corrected."""
        corrected = outcome.text if shown and outcome.corrected else None
        told = verdict(outcome.settled, corrected)
        index, finish = outcome.index, outcome.finish
        if self.chat:
            return self._chunk(self._delta(index, {}, finish, None), told)
        return self._chunk(self._part(index, "", finish, None), told)

    def counts(self, outcomes: Sequence[Outcome]) -> Json:
        """The chunk that ``stream_options.include_usage`` adds at the end."""
        told = verdicts([verdict(each.settled) for each in outcomes])
        return self._chunk(None, told) | {"usage": self.usage(outcomes)}

    def usage(self, outcomes: Sequence[Outcome]) -> Json:
        """Tokens of the prompts, and of the answers with their ends of text."""
        prompted = self.inquiry.prompted
        generated = sum(each.generated for each in outcomes)
        return {
            "prompt_tokens": prompted,
            "completion_tokens": generated,
            "total_tokens": prompted + generated,
        }

    @property
    def _weighs(self) -> bool:
        return self.inquiry.wish.top > 0

    def _head(self, kind: str) -> Json:
        card = self.inquiry.served.card
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": card.name,
            "system_fingerprint": f"fp_{card.file.v2.hex()[:12]}",
        }

    def _chunk(self, choice: Json | None, swarm: Json) -> Json:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        chunk = self._head(kind) | {"choices": [choice] if choice else [], "swarm": swarm}
        return chunk | {"usage": None} if self.inquiry.wish.usage else chunk

    def _choice(self, outcome: Outcome) -> Json:
        weighs = self._weighs and not outcome.corrected
        logprobs = self._logprobs(outcome.index, outcome.weighed) if weighs else None
        if not self.chat:
            text = self._lead(outcome.index) + outcome.text
            return self._part(outcome.index, text, outcome.finish, logprobs)
        message: Json = {"role": "assistant", "content": outcome.text, "refusal": None}
        return {
            "index": outcome.index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": outcome.finish,
        }

    def _delta(self, index: int, delta: Json, finish: str | None, logprobs: Json | None) -> Json:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    def _part(self, index: int, text: str, finish: str | None, logprobs: Json | None) -> Json:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _lead(self, index: int) -> str:
        return self.leads[index // self.inquiry.wish.count] if self.leads else ""

    def _logprobs(self, index: int, weighed: Sequence[Weighed]) -> Json:
        language, top = self.inquiry.language, self.inquiry.wish.top
        if self.chat:
            return weights.of_chat(language, weighed, top)
        return weights.of_completion(language, weighed, top, len(self._lead(index)))
