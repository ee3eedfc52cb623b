"""The memory of many expressions as one program, laid out once, and the calls that work on it, forwards and back."""

from dataclasses import dataclass

import numpy as np

from evomal.losses.array_layout import Layout
from evomal.losses.array_operators import ARRAY_OPERATORS, Array, ArrayOperator, Arrays, Changes


@dataclass(frozen=True, slots=True)
class BoundCall:
    """A call with the memory that it works on: values, tangents, and what both count (their bars)."""

    operator: ArrayOperator
    result: Array
    arguments: Arrays
    tangent: Array | None
    changes: Changes
    bar: Array
    argument_bars: Arrays
    moved_bar: Array | None
    change_bars: Changes

    def forward(self) -> None:
        """Results, and how they change."""
        self.operator.value(*self.arguments, out=self.result)
        if self.tangent is None:
            return
        begun = False
        for slope, change in zip(self.operator.slopes(self.result, self.arguments), self.changes, strict=True):
            if change is not None and begun:
                self.tangent.__iadd__(slope * change)
            elif change is not None:
                np.multiply(slope, change, out=self.tangent)
                begun = True

    def back(self) -> None:
        """What arguments and their tangents count, from what results and theirs do."""
        slopes = self.operator.slopes(self.result, self.arguments)
        for slope, into in zip(slopes, self.argument_bars, strict=True):
            np.multiply(self.bar, slope, out=into)
        if self.moved_bar is None:
            return
        for slope, change_bar in zip(slopes, self.change_bars, strict=True):
            if change_bar is not None:
                np.multiply(self.moved_bar, slope, out=change_bar)
        bends = self.operator.bends(self.result, self.arguments, slopes, self.changes)
        for bend, into in zip(bends, self.argument_bars, strict=True):
            if bend is not None:
                into.__iadd__(self.moved_bar * bend)


@dataclass(slots=True)
class Place:
    """What is gathered for a stage, and its calls."""

    own: Array
    moved: Array
    own_bars: Array
    moved_bars: Array
    calls: tuple[BoundCall, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """The memory of a program for so many numbers in a lane."""

    values: Array
    tangents: Array
    bars: Array
    moved_bars: Array
    places: tuple[Place, ...]

    @classmethod
    def of(cls, layout: Layout, like: Array) -> "Room":
        """Memory for what a layout has rows for, and numbers as in `like`."""

        def memory(count: int) -> Array:
            return np.zeros((count, like.shape[1]), like.dtype)

        values, bars = memory(layout.rows), memory(layout.rows)
        tangents, moved_bars = memory(layout.tangents), memory(layout.tangents)
        tangents[1] = 1
        places = []
        for stage in layout.stages:
            own, own_bars = memory(len(stage.rows)), memory(len(stage.rows))
            moved, own_moved_bars = memory(len(stage.moved)), memory(len(stage.moved))
            calls = tuple(
                BoundCall(
                    ARRAY_OPERATORS[call.name],
                    values[call.results],
                    tuple(own[part] for part in call.arguments),
                    None if call.tangents is None else tangents[call.tangents],
                    tuple(None if part is None else moved[part] for part in call.moving),
                    bars[call.results],
                    tuple(own_bars[part] for part in call.arguments),
                    None if call.tangents is None else moved_bars[call.tangents],
                    tuple(None if part is None else own_moved_bars[part] for part in call.moving),
                )
                for call in stage.calls
            )
            places.append(Place(own, moved, own_bars, own_moved_bars, calls))
        return cls(values, tangents, bars, moved_bars, tuple(places))
