"""What a model is asked: token ids and settings, never text. Canonical bencode, no floats.

Everything that decides the answer is in here or in the manifest (engine image, model): who has
both gives the same answer, token by token.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from workunits import canonical
from workunits.canonical import Fields
from workunits.errors import LimitError, MalformedError
from workunits.names import plain_text

MAX_PROMPT = 131_072
"""Tokens of one prompt."""

MAX_NEW = 32_768
"""Tokens of one answer."""

MAX_ID = 2**24
MAX_SEED = 2**53
MAX_CANDIDATES = 256
"""Most candidates that a token is drawn from; more would make sums depend on the machine."""

MAX_FORM = 16_384
MAX_REQUEST = 4 * MAX_PROMPT + MAX_FORM + 1024
NONCE_SIZE = 16
THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is drawn from the logits. Fractions are per mille; ``temperature`` 0 is greedy.

    ``top_k`` 0 means as many candidates as there may be (``MAX_CANDIDATES``).
    """

    temperature: int = 0
    top_p: int = THOUSAND
    top_k: int = 0
    repetition: int = THOUSAND

    def value(self) -> dict[str, object]:
        """The canonical form."""
        return {
            "repetition": self.repetition,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
        }

    @classmethod
    def read(cls, fields: Fields) -> "Sampling":
        """Read the settings strictly."""
        sampling = cls(
            temperature=fields.integer("temperature", 0, 2 * THOUSAND),
            top_p=fields.integer("top_p", 1, THOUSAND),
            top_k=fields.integer("top_k", 0, MAX_CANDIDATES),
            repetition=fields.integer("repetition", THOUSAND, 2 * THOUSAND),
        )
        fields.end()
        return sampling


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt. ``most`` is how many tokens the answer may have, the end of text included.

    ``form`` is what the answer must look like: empty for any text, ``json`` for one JSON object,
    else a JSON schema. ``nonce`` comes back in the answer, so that a public hash of a short answer
    cannot be guessed.
    """

    prompt: tuple[int, ...]
    most: int
    seed: int
    nonce: bytes
    sampling: Sampling = Sampling()
    form: str = ""

    def encode(self) -> bytes:
        """The canonical bytes."""
        return canonical.encode(
            {
                "form": self.form,
                "most": self.most,
                "nonce": self.nonce,
                "prompt": pack_ids(self.prompt),
                "sampling": self.sampling.value(),
                "seed": self.seed,
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> "Request":
        """Read a request strictly. Raises ``MalformedError`` or ``LimitError``."""
        fields = canonical.decode_fields(raw, limit=MAX_REQUEST, what="request")
        request = cls(
            prompt=read_ids(fields.octets("prompt", limit=4 * MAX_PROMPT)),
            most=fields.integer("most", 1, MAX_NEW),
            seed=fields.integer("seed", 0, MAX_SEED),
            nonce=fields.octets("nonce", length=NONCE_SIZE),
            sampling=Sampling.read(fields.group("sampling")),
            form=plain_text(fields.text("form", limit=MAX_FORM), "the form of the answer"),
        )
        fields.end()
        if not request.prompt:
            raise MalformedError("request: the prompt is empty")
        return request


def pack_ids(ids: Sequence[int]) -> bytes:
    """Token ids as u32 after u32, big-endian."""
    return struct.pack(f">{len(ids)}I", *ids)


def read_ids(packed: bytes) -> tuple[int, ...]:
    """Packed token ids. Raises ``MalformedError`` or ``LimitError``."""
    if len(packed) % 4:
        raise MalformedError("token ids are cut off")
    ids = struct.unpack(f">{len(packed) // 4}I", packed)
    if ids and max(ids) >= MAX_ID:
        raise LimitError(f"a token id is over {MAX_ID}")
    return ids
