"""What a submitter sends to a tracker: the signed manifest, and what only the tracker may know."""

from dataclasses import dataclass

from workunits import canonical
from workunits.errors import MalformedError
from workunits.manifest import MAX_MANIFEST, SignedManifest
from workunits.ringers import MAX_RINGERS, Ringers
from workunits.signing import SIGNATURE_SIZE
from workunits.verification import Comparison

MAX_SUBMISSION = MAX_MANIFEST + MAX_RINGERS + 200


@dataclass(frozen=True, slots=True)
class Submission:
    """A signed manifest, with the known answers whose hash it names. Without ringers its bytes are
    those of a ``.job`` file."""

    signed: SignedManifest
    ringers: Ringers | None = None

    def encode(self) -> bytes:
        """The canonical bytes."""
        value = {"manifest": self.signed.raw, "signature": self.signed.signature}
        if self.ringers is not None:
            value["ringers"] = self.ringers.encode()
        return canonical.encode(value)

    @classmethod
    def parse(cls, raw: bytes) -> "Submission":
        """Read a submission strictly; signature and ``check`` hold for what is returned."""
        fields = canonical.decode_fields(raw, limit=MAX_SUBMISSION, what="job")
        manifest = fields.octets("manifest", limit=MAX_MANIFEST)
        known = fields.octets("ringers", limit=MAX_RINGERS) if fields.has("ringers") else None
        signature = fields.octets("signature", length=SIGNATURE_SIZE)
        fields.end()
        submission = cls(
            SignedManifest.of(manifest, signature),
            None if known is None else Ringers.parse(known),
        )
        submission.check()
        return submission

    def check(self) -> None:
        """Raise ``MalformedError`` unless the ringers are the ones that the manifest names."""
        manifest = self.signed.manifest
        named = manifest.demands.ringers
        if self.ringers is None:
            if named:
                raise MalformedError(
                    "the manifest names ringers that do not come with it",
                    hint="Submit the job file again: the known answers are not in a .job file.",
                )
            return
        if self.ringers.hash != named:
            raise MalformedError("the ringers are not the ones that the manifest names")
        last, _ = self.ringers.answers[-1]
        if last >= manifest.units:
            raise MalformedError(
                f"ringers name unit {last:,}, and the job has {manifest.units:,}",
                hint="The first unit has index 0.",
            )
        if manifest.comparator.kind is not Comparison.EXACT:
            raise MalformedError(
                "ringers need exact comparison", hint='Use comparator = "exact", or no ringers.'
            )
