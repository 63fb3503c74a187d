"""Jobs that ask a model, for tests."""

from tests.client.work.tracker import IMAGE, SUBMITTER, ref_of
from workunits.ids import BlobRef
from workunits.manifest import Limits, Manifest, Program, SignedManifest
from workunits.models.answer import MODEL_FILE, OUTPUT, REQUESTS_FILE
from workunits.models.program import COMMAND, Engine, ModelProgram
from workunits.models.request import Request
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.verification import Comparator, Comparison, Policy

MARGINS = Comparator(Comparison.TEXT_MODEL, mean_gap=10, most_gap=1000)


def model_job(
    units: int = 10,
    *,
    asked: bool = True,
    model: BlobRef | None = None,
    requests: BlobRef | None = None,
    memory: int = 300 << 20,
    wall: int = 60,
    most: int = 128,
    comparator: Comparator | None = None,
    name: str = "smollm2",
) -> SignedManifest:
    """A signed job whose units ask a model: with requests of its own, or those that come."""
    about = ModelProgram(Engine.LLAMA_CPP, 2048, most, asked, 10**6 if asked else 0)
    file = NamedBlob(MODEL_FILE, model or ref_of(40))
    manifest = Manifest(
        submitter=SUBMITTER.key,
        name=name,
        program=Program(IMAGE, COMMAND, (file,), model=about),
        parameters=Sweep((Range("request", 0, 1, units),)),
        inputs=() if asked else (NamedBlob(REQUESTS_FILE, requests or ref_of(41)),),
        outputs=(OUTPUT,),
        limits=Limits(60, wall, memory, 1 << 20),
        price=1,
        policy=Policy.PAIR,
        comparator=comparator or Comparator(Comparison.TEXT_MODEL),
        nonce=bytes(16),
    )
    manifest.check()
    return SignedManifest.sign(manifest, SUBMITTER)


def request_of(number: int = 0, *, prompt: int = 5, most: int = 128) -> Request:
    """A made-up request; others with another ``number``."""
    ids = tuple(1 + (number + at) % 200 for at in range(prompt))
    return Request(ids, most, seed=number, nonce=number.to_bytes(16, "big"))
