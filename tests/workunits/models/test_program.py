"""Jobs that ask a model: what their manifests may say, and what their units cost."""

from dataclasses import replace

import pytest
from hypothesis import given

from tests.workunits.strategies import SUBMITTER, model_manifests, model_programs
from workunits import canonical
from workunits.errors import MalformedError
from workunits.ids import BlobRef
from workunits.manifest import Limits, Manifest, Program
from workunits.models.program import COMMAND, Engine, ModelProgram
from workunits.parameters import NamedBlob, Range, Sweep
from workunits.verification import Comparator, Comparison, Policy

REF = BlobRef(b"2" * 32, b"1" * 20, 100_000)
MODEL = ModelProgram(Engine.LLAMA_CPP, context=2048, most=128)
ASKED = replace(MODEL, asked=True, budget=5000)
JOB = Manifest(
    submitter=SUBMITTER.key,
    name="prompts",
    program=Program("sha256:" + "a" * 64, COMMAND, (NamedBlob("model.gguf", REF),), model=MODEL),
    parameters=Sweep((Range("request", 0, 1, 10),)),
    inputs=(NamedBlob("requests", REF),),
    outputs=("answer",),
    limits=Limits(10, 20, 300 << 20, 4000),
    price=3,
    policy=Policy.PAIR,
    comparator=Comparator(Comparison.TEXT_MODEL),
    nonce=b"n" * 16,
)


def asked(manifest: Manifest) -> Manifest:
    """The same job, whose units come while it runs."""
    return replace(manifest, program=replace(manifest.program, model=ASKED), inputs=())


@given(model_programs())
def test_a_model_survives_the_wire(program: ModelProgram) -> None:
    raw = canonical.encode(program.value())
    fields = canonical.decode_fields(raw, limit=1000, what="model")
    assert ModelProgram.read(fields) == program


@given(model_manifests())
def test_a_job_that_asks_a_model_survives_the_wire(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.encode()) == manifest


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (replace(JOB, comparator=Comparator()), "text-model"),
        (replace(JOB, program=replace(JOB.program, model=None)), "text-model"),
        (replace(JOB, program=replace(JOB.program, command=("sh",))), "command"),
        (replace(JOB, program=replace(JOB.program, files=())), "model.gguf"),
        (replace(JOB, outputs=("answer", "more")), "only output"),
        (replace(JOB, inputs=()), "only input"),
        (replace(asked(JOB), inputs=JOB.inputs), "only input"),
        (replace(JOB, parameters=Sweep(())), "only parameter"),
        (
            replace(JOB, program=replace(JOB.program, model=replace(MODEL, most=4096))),
            "context",
        ),
        (
            replace(asked(JOB), program=replace(JOB.program, model=replace(ASKED, budget=0))),
            "budget",
        ),
    ],
)
def test_a_rule_about_models_that_does_not_hold_is_named(wrong: Manifest, why: str) -> None:
    assert any(why in problem.message for problem in wrong.problems())


def test_both_kinds_keep_every_rule() -> None:
    JOB.check()
    asked(JOB).check()


def test_an_answer_is_paid_per_token_and_its_check_half_of_that() -> None:
    assert JOB.award(meter=101, place=0) == 303
    assert JOB.award(meter=101, place=1) == 152


def test_the_escrow_covers_the_longest_answers_and_their_checks() -> None:
    most = 128 + 2048 // 16
    assert JOB.escrow == 10 * (3 * most + (3 * most + 1) // 2)
    assert asked(JOB).escrow == 5000


def test_one_gap_without_the_other_is_refused() -> None:
    raw = canonical.encode(Comparator(Comparison.TEXT_MODEL, mean_gap=1).value())
    with pytest.raises(MalformedError, match="gaps"):
        Comparator.read(canonical.decode_fields(raw, limit=1000, what="comparator"))
