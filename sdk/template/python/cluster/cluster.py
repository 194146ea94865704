"""The cluster as this instance holds it: one row a shard, told whole once and then by what changed. Knows nothing of
what is decided.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Column, LabelColumn


@dataclass
class Held:
    """What the last reset told, kept as it came, with what changed since."""

    generation: int | None = None
    columns: list[Column] = field(default_factory=list)
    labels: list[LabelColumn] = field(default_factory=list)
    removed: list[bool] = field(default_factory=list)
    """A row that is gone keeps its handle until the next reset."""


held = Held()


def column(name: str) -> list[int]:
    """A column by its name in wit/v1/cluster-feed.wit, one number a row; one that is missing is all zeros."""
    values = next((column.values for column in held.columns if column.name == name), [])
    return list(values) + [0] * (len(held.removed) - len(values))


def labels(name: str) -> list[str]:
    """A column of texts likewise; one that is missing is all empty."""
    told = next((column for column in held.labels if column.name == name), None)
    if told is None:
        return [""] * len(held.removed)
    texts = [told.texts[text] if text < len(told.texts) else "" for text in told.values]
    return texts + [""] * (len(held.removed) - len(texts))


def is_there(row: int) -> bool:
    """Is this a row of a shard that is not gone? It may be draining."""
    return row < len(held.removed) and not held.removed[row]


def all_rows() -> Iterator[int]:
    """The rows that are there."""
    return filter(is_there, range(len(held.removed)))


def open_rows() -> list[int]:
    """Those that take new work."""
    draining = column("draining")
    return [row for row in all_rows() if not draining[row]]


class ClusterFeed(exports.ClusterFeed):
    """What the host calls."""

    def reset(self, generation: int, rows: int, columns: list[Column], labels: list[LabelColumn]) -> None:
        global held
        held = Held(generation, columns, labels, [False] * rows)

    def delta(
        self, generation: int, columns: list[int], rows: list[int], values: list[int], removed: list[int]
    ) -> None:
        if generation != held.generation:
            raise Err("resync")
        for number, row, value in zip(columns, rows, values):
            if number < len(held.columns) and row < len(held.columns[number].values):
                held.columns[number].values[row] = value
        for row in removed:
            if row < len(held.removed):
                held.removed[row] = True
