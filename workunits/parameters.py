"""What differs between the units of a job: axes combined as a product or zipped, or explicit rows.

A unit's values are computed from its index in O(number of axes); nothing is stored per unit, so
ten million units cost as much to publish as ten.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from workunits.canonical import Fields
from workunits.errors import LimitError, MalformedError
from workunits.ids import BlobRef
from workunits.names import file_name, parameter_name, plain_text

MAX_AXES = 16
MAX_VALUES = 100_000
MAX_VALUE_BYTES = 1024
MAX_UNITS = 100_000_000
MAX_BLOB = 2**40


@dataclass(frozen=True, slots=True)
class NamedBlob:
    """A blob and the plain file name under which a program sees it."""

    name: str
    ref: BlobRef

    def value(self) -> dict[str, object]:
        """The canonical form."""
        ref = self.ref
        return {"length": ref.length, "name": self.name, "v1": ref.v1, "v2": ref.v2}

    @classmethod
    def parse(cls, fields: Fields, what: str) -> "NamedBlob":
        """Read one named blob."""
        blob = cls(
            file_name(fields.text("name", limit=100), what),
            BlobRef(
                v2=fields.octets("v2", length=32),
                v1=fields.octets("v1", length=20),
                length=fields.integer("length", 0, MAX_BLOB),
            ),
        )
        fields.end()
        return blob


@dataclass(frozen=True, slots=True)
class Values:
    """An axis of listed values."""

    name: str
    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: int) -> str:
        return self.values[at]

    def value(self) -> dict[str, object]:
        """The canonical form."""
        return {"name": self.name, "values": list(self.values)}


@dataclass(frozen=True, slots=True)
class Range:
    """An axis of evenly spaced integers: ``count`` values from ``start`` in steps of ``step``."""

    name: str
    start: int
    step: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: int) -> str:
        return str(self.start + at * self.step)

    def value(self) -> dict[str, object]:
        """The canonical form."""
        return {"count": self.count, "name": self.name, "start": self.start, "step": self.step}


@dataclass(frozen=True, slots=True)
class Files:
    """An axis of input files: a unit gets one of them, and its name as the value."""

    name: str
    files: tuple[NamedBlob, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> str:
        return self.files[at].name

    def value(self) -> dict[str, object]:
        """The canonical form."""
        return {"files": [file.value() for file in self.files], "name": self.name}


Axis: TypeAlias = Values | Range | Files


class Combine(StrEnum):
    """How axes become units."""

    PRODUCT = "product"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class Sweep:
    """All parameters of a job. Without axes there is exactly one unit.

    Rows of a table are axes of listed values, zipped. In a product the last axis varies fastest.
    """

    axes: tuple[Axis, ...] = ()
    combine: Combine = Combine.PRODUCT

    def __len__(self) -> int:
        return self._count()

    def positions(self, index: int) -> tuple[int, ...]:
        """Where unit ``index`` stands on each axis."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self.combine is Combine.ZIP:
            return (index,) * len(self.axes)
        places = []
        for axis in reversed(self.axes):
            index, at = divmod(index, len(axis))
            places.append(at)
        return tuple(reversed(places))

    def parameters(self, index: int) -> dict[str, str]:
        """The values of unit ``index`` by parameter name."""
        places = self.positions(index)
        return {axis.name: axis[at] for axis, at in zip(self.axes, places, strict=True)}

    def inputs(self, index: int) -> tuple[NamedBlob, ...]:
        """The files that only unit ``index`` reads."""
        places = self.positions(index)
        return tuple(
            axis.files[at]
            for axis, at in zip(self.axes, places, strict=True)
            if isinstance(axis, Files)
        )

    def check(self) -> None:
        """Raise unless names are unique, lengths fit and the number of units is in bounds."""
        names = [axis.name for axis in self.axes]
        if len(set(names)) != len(names):
            raise MalformedError("a parameter name appears twice")
        lengths = {len(axis) for axis in self.axes}
        if 0 in lengths:
            raise MalformedError("a parameter has no values")
        if self.combine is Combine.ZIP and len(lengths) > 1:
            raise MalformedError("zipped parameters have different lengths")
        if self._count() > MAX_UNITS:
            raise LimitError(
                f"{self._count():,} units are more than a job may have ({MAX_UNITS:,})",
                hint="Split the sweep into several jobs, or let one unit do more work.",
            )

    def value(self) -> dict[str, object]:
        """The canonical form."""
        return {"axes": [axis.value() for axis in self.axes], "combine": self.combine.value}

    @classmethod
    def parse(cls, fields: Fields) -> "Sweep":
        """Read and check a sweep."""
        axes = tuple(_axis(group) for group in fields.groups("axes", MAX_AXES))
        combine = fields.text("combine", limit=10)
        fields.end()
        if combine not in list(Combine):
            raise MalformedError(f"parameters cannot be combined as {combine!r}")
        sweep = cls(axes, Combine(combine))
        sweep.check()
        return sweep

    def _count(self) -> int:
        lengths = [len(axis) for axis in self.axes]
        if self.combine is Combine.ZIP and lengths:
            return lengths[0]
        return math.prod(lengths)  # may be more than what len() can return


def _axis(fields: Fields) -> Axis:
    name = parameter_name(fields.text("name", limit=32), "parameter")
    axis: Axis
    if fields.has("values"):
        values = fields.texts("values", count=MAX_VALUES, limit=MAX_VALUE_BYTES)
        axis = Values(name, tuple(plain_text(value, f"a value of {name}") for value in values))
    elif fields.has("files"):
        groups = fields.groups("files", MAX_VALUES)
        axis = Files(name, tuple(NamedBlob.parse(group, f"a file of {name}") for group in groups))
    else:
        axis = Range(
            name,
            start=fields.integer("start", low=-(2**62), high=2**62),
            step=fields.integer("step", low=-(2**40), high=2**40),
            count=fields.integer("count", 1, MAX_UNITS * 10),
        )
    fields.end()
    return axis
