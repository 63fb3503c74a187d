"""Cross-validate k nearest neighbours on the UCI handwritten digits: one k, metric and fold.

Standard library only. A digit is 64 grey values from 0 to 16, and its label.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDS = 5

parser = argparse.ArgumentParser()
parser.add_argument("data", type=Path)
parser.add_argument("out", type=Path)
parser.add_argument("--k", type=int, required=True)
parser.add_argument("--metric", choices=("euclidean", "manhattan", "cosine"), required=True)
parser.add_argument("--fold", type=int, choices=range(FOLDS), required=True)
args = parser.parse_args()


def unary(pixels: list[int]) -> int:
    """Grey values as runs of ones: the Manhattan distance is then a count of differing bits."""
    code = 0
    for pixel in pixels:
        code = code << 16 | (1 << pixel) - 1
    return code


def unit_length(pixels: list[int]) -> list[float]:
    """Scaled to length one: Euclidean distance then orders as cosine distance does."""
    length = math.hypot(*pixels)
    return [pixel / length for pixel in pixels]


def bits_apart(one: int, other: int) -> int:
    """How many bits differ."""
    return (one ^ other).bit_count()


PREPARE: dict[str, Callable[[list[int]], Any]] = {
    "euclidean": list,
    "manhattan": unary,
    "cosine": unit_length,
}
prepare = PREPARE[args.metric]
distance: Callable[[Any, Any], float] = bits_apart if args.metric == "manhattan" else math.dist

rows = [[int(cell) for cell in line.split(",")] for line in args.data.read_text().splitlines()]
digits = [(prepare(row[:64]), row[64]) for row in rows]
train = [digit for at, digit in enumerate(digits) if at % FOLDS != args.fold]
tested = range(args.fold, len(digits), FOLDS)

right = 0
with (args.out / "predictions.csv").open("w") as table:
    table.write("row,digit,predicted,votes,nearest\n")
    for at in tested:
        image, label = digits[at]
        near = sorted((distance(image, other), known) for other, known in train)[: args.k]
        votes = Counter(known for _, known in near)
        predicted, count = min(votes.items(), key=lambda vote: (-vote[1], vote[0]))
        right += predicted == label
        table.write(f"{at},{label},{predicted},{count},{near[0][0]:.6f}\n")

score = {"right": right, "of": len(tested), "accuracy": round(right / len(tested), 6)}
(args.out / "score.json").write_text(json.dumps(score) + "\n")
