"""What a job says of the model that its units ask: engine, context, the most that one may cost."""

from dataclasses import dataclass
from enum import StrEnum

from workunits.canonical import Fields
from workunits.models.request import MAX_NEW
from workunits.verification import member

MAX_CONTEXT = 131_072
MAX_BUDGET = 10**15
COMMAND = ("model",)
"""The command of a program that is a model."""


class Engine(StrEnum):
    """What runs a model. Each is an image; this says which words the image's process speaks."""

    LLAMA_CPP = "llama.cpp"
    CTRANSFORMERS = "ctransformers"


@dataclass(frozen=True, slots=True)
class ModelProgram:
    """A model as a program.

    ``context`` and ``most`` are tokens: of prompt and answer together, and of one answer. With
    ``asked`` the units come while the job runs, each with a request that is in no manifest, and
    ``budget`` is all that they may cost; otherwise the requests are the input ``requests``.
    """

    engine: Engine
    context: int
    most: int
    asked: bool = False
    budget: int = 0

    def value(self) -> dict[str, object]:
        """The canonical form."""
        return {
            "asked": int(self.asked),
            "budget": self.budget,
            "context": self.context,
            "engine": self.engine.value,
            "most": self.most,
        }

    @classmethod
    def read(cls, fields: Fields) -> "ModelProgram":
        """Read it strictly."""
        program = cls(
            engine=member(Engine, fields.text("engine", limit=20), "engine"),
            context=fields.integer("context", 1, MAX_CONTEXT),
            most=fields.integer("most", 1, MAX_NEW),
            asked=fields.flag("asked"),
            budget=fields.integer("budget", 0, MAX_BUDGET),
        )
        fields.end()
        return program
