"""What a tracker says of its models."""

from dataclasses import dataclass
from typing import Self

from client.json_fields import JsonFields
from workunits.ids import HASH_SIZE, BlobRef

MAX_TEXT = 400


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model that can be asked. ``price`` is credits per token, ``rate`` tokens per second as far
    as it was measured, ``created`` Unix seconds."""

    name: str
    card: BlobRef
    file: BlobRef
    architecture: str
    quantisation: str
    context: int
    licence: str
    parameters: int
    engine: str
    image: str
    price: int
    mean_gap: int
    most_gap: int
    memory: int
    created: int
    holders: int
    rate: float

    @classmethod
    def read(cls, fields: JsonFields) -> Self:
        """Read one."""

        def text(key: str) -> str:
            return fields.text(key, limit=MAX_TEXT, default="")

        return cls(
            name=fields.text("name", limit=MAX_TEXT),
            card=_ref(fields.group("card")),
            file=_ref(fields.group("file")),
            architecture=text("architecture"),
            quantisation=text("quantisation"),
            context=fields.integer("context", default=0),
            licence=text("licence"),
            parameters=fields.integer("parameters", default=0),
            engine=text("engine"),
            image=text("image"),
            price=fields.integer("price", default=0),
            mean_gap=fields.integer("mean_gap", default=0),
            most_gap=fields.integer("most_gap", default=0),
            memory=fields.integer("memory", default=0),
            created=fields.integer("created", default=0),
            holders=fields.integer("holders", default=0),
            rate=fields.number("rate") if fields.has("rate") else 0.0,
        )

    @property
    def comparison(self) -> str:
        """How its answers are compared, for people."""
        if not self.mean_gap:
            return "exact"
        return f"gaps up to {self.most_gap / 1000:g}, {self.mean_gap / 1000:g} in the mean"


def _ref(fields: JsonFields) -> BlobRef:
    return BlobRef(
        fields.octets("v2", HASH_SIZE), fields.octets("v1", 20), fields.integer("length", 1)
    )
