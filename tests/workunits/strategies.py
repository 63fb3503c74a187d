"""Hypothesis strategies for everything that a manifest or a message holds."""

import string
from dataclasses import replace

from hypothesis import strategies as st

from workunits.ids import BlobRef, Digest, PeerKey
from workunits.images import MAX_IMAGE, Layer, chain_id
from workunits.manifest import MAX_NUMERIC_OUTPUT, MAX_PRICE, MIN_MEMORY, Limits, Manifest, Program
from workunits.models.answer import MODEL_FILE, OUTPUT, REQUESTS_FILE, Answer, Finish
from workunits.models.program import COMMAND, MAX_BUDGET, Engine, ModelProgram
from workunits.models.request import MAX_CANDIDATES, MAX_ID, MAX_SEED, Request, Sampling
from workunits.parameters import Axis, Combine, Files, NamedBlob, Range, Sweep, Values
from workunits.results import Ending, Result
from workunits.ringers import Ringers
from workunits.signing import Identity
from workunits.verification import MAX_REPUTATION, Comparator, Comparison, Demands, Policy

SUBMITTER = Identity.from_seed(b"s" * 32)
_LETTERS = string.ascii_lowercase + string.digits

hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
printable = st.text(st.characters(codec="utf-8"), max_size=8).filter(str.isprintable)
names = st.text(_LETTERS, min_size=1, max_size=8)
refs = st.builds(BlobRef, hashes, st.binary(min_size=20, max_size=20), st.integers(0, 1000))


def blobs(names: st.SearchStrategy[str] = names) -> st.SearchStrategy[NamedBlob]:
    """Named blobs."""
    return st.builds(NamedBlob, names, refs)


def _axis(name: str, count: int) -> st.SearchStrategy[Axis]:
    files = blobs(st.just(f"{name}.csv"))
    return st.one_of(
        st.lists(printable, min_size=count, max_size=count).map(
            lambda values: Values(name, tuple(values))
        ),
        st.lists(files, min_size=count, max_size=count).map(
            lambda values: Files(name, tuple(values))
        ),
        st.builds(
            Range,
            st.just(name),
            st.integers(-(2**62), 2**62),
            st.integers(-(2**40), 2**40),
            st.just(count),
        ),
    )


@st.composite
def sweeps(draw: st.DrawFn) -> Sweep:
    """Valid sweeps of a few axes."""
    combine = draw(st.sampled_from(Combine))
    count = draw(st.integers(0, 3))
    same = draw(st.integers(1, 4))
    axes = []
    for name in "pqr"[:count]:
        length = same if combine is Combine.ZIP else draw(st.integers(1, 4))
        axes.append(draw(_axis(name, length)))
    return Sweep(tuple(axes), combine)


@st.composite
def comparators(draw: st.DrawFn) -> Comparator:
    """Exact, numeric with tolerances, or a program."""
    kind = draw(st.sampled_from([each for each in Comparison if each != "text-model"]))
    if kind is Comparison.NUMERIC:
        tolerance = st.floats(0, 1e200)
        return Comparator(kind, draw(tolerance), draw(tolerance))
    if kind is Comparison.PROGRAM:
        return Comparator(kind, command=("same", *draw(st.lists(printable, max_size=3))))
    return Comparator(kind)


settings = st.dictionaries(names, st.integers(0, 10**6), max_size=4).map(
    lambda found: tuple(sorted(found.items()))
)
demands = st.builds(Demands, settings, st.booleans(), st.integers(0, MAX_REPUTATION))


@st.composite
def image_layers(draw: st.DrawFn) -> Layer:
    """Layers of images."""
    ref = draw(blobs()).ref
    return Layer(draw(hashes), replace(ref, length=max(1, ref.length % (MAX_IMAGE // 4))))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Manifests that keep every rule."""
    sweep = draw(sweeps())
    outputs = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    arguments = [f"{{{axis.name}}}" for axis in sweep.axes]
    layers = tuple(draw(st.lists(image_layers(), max_size=3, unique_by=lambda each: each.diff)))
    diffs = [layer.diff for layer in layers] or [draw(hashes)]
    return Manifest(
        submitter=SUBMITTER.key,
        name=draw(names),
        program=Program(
            chain_id(diffs),
            ("run", *arguments),
            tuple(draw(st.lists(blobs(), max_size=3, unique_by=lambda blob: blob.name))),
            draw(st.sampled_from(["", *outputs])),
            layers,
        ),
        parameters=sweep,
        inputs=tuple(draw(st.lists(blobs(), max_size=3, unique_by=lambda blob: blob.name))),
        outputs=tuple(outputs),
        limits=Limits(
            draw(st.integers(1, 1000)),
            draw(st.integers(1, 1000)),
            draw(st.integers(MIN_MEMORY, 2**33)),
            draw(st.integers(1, MAX_NUMERIC_OUTPUT)),
        ),
        price=draw(st.integers(0, MAX_PRICE)),
        policy=draw(st.sampled_from(Policy)),
        comparator=draw(comparators()),
        nonce=draw(st.binary(min_size=16, max_size=16)),
        demands=draw(demands),
    )


token_ids = st.lists(st.integers(0, MAX_ID - 1), max_size=8).map(tuple)
samplings = st.builds(
    Sampling,
    st.integers(0, 2000),
    st.integers(1, 1000),
    st.integers(0, MAX_CANDIDATES),
    st.integers(1000, 2000),
)
requests = st.builds(
    Request,
    token_ids.filter(bool),
    st.integers(1, 100),
    st.integers(0, MAX_SEED),
    st.binary(min_size=16, max_size=16),
    samplings,
    printable,
)
answers = st.builds(
    Answer,
    token_ids.filter(bool),
    st.sampled_from(Finish),
    st.binary(min_size=16, max_size=16),
)


@st.composite
def model_programs(draw: st.DrawFn) -> ModelProgram:
    """Models as programs, asked and not."""
    context, asked = draw(st.integers(1, 4096)), draw(st.booleans())
    budget = draw(st.integers(1, MAX_BUDGET)) if asked else 0
    engine, most = draw(st.sampled_from(Engine)), draw(st.integers(1, context))
    return ModelProgram(engine, context, most, asked, budget)


@st.composite
def model_manifests(draw: st.DrawFn) -> Manifest:
    """Manifests of jobs that ask a model."""
    model = draw(model_programs())
    manifest = draw(manifests())
    files = (NamedBlob(MODEL_FILE, draw(refs)),)
    gaps = draw(st.sampled_from([(0, 0), (10, 1000)]))
    return replace(
        manifest,
        program=Program(manifest.program.image, COMMAND, files, "", manifest.program.layers, model),
        parameters=Sweep((Range("request", 0, 1, draw(st.integers(1, 10**6))),)),
        inputs=() if model.asked else (NamedBlob(REQUESTS_FILE, draw(refs)),),
        outputs=(OUTPUT,),
        comparator=Comparator(Comparison.TEXT_MODEL, mean_gap=gaps[0], most_gap=gaps[1]),
    )


@st.composite
def ringers(draw: st.DrawFn, units: int = 1000) -> Ringers:
    """Known answers of some units of a job that has ``units``."""
    answers = draw(
        st.dictionaries(st.integers(0, units - 1), hashes.map(Digest), min_size=1, max_size=5)
    )
    return Ringers(draw(hashes), tuple(sorted(answers.items())))


@st.composite
def results(draw: st.DrawFn) -> Result:
    """Results with sorted outputs."""
    outputs = draw(st.lists(blobs(), max_size=4, unique_by=lambda blob: blob.name))
    return Result(
        draw(st.sampled_from(Ending)),
        draw(st.integers(0, 255)),
        tuple(sorted(outputs, key=lambda blob: blob.name)),
    )


keys = hashes.map(PeerKey)
