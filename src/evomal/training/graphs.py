"""A training step as a CUDA graph: launched by one call instead of one for every kernel."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from evomal.tasks.rng import random_state, set_random_state

Step = Callable[[Tensor, Tensor], Tensor]
Capture = Callable[[Step, Tensor, Tensor], Step]

WARM_UP = 3  # steps in which libraries choose their kernels


class GraphedStep:
    """A step ``(x, y) -> values`` that changes some tensors in place, captured once it has run a few times.

    The captured step is trusted after it has done to the state, and given, what the plain step did from the same state
    with the same random numbers; after any failure, or for a batch of another shape, steps are plain for good.

    **Capturing itself has never been run:** it was written where there is no GPU. What surrounds it is tested with a
    capture that is none.

    Args:
        step: The plain step.
        state: All tensors that it changes in place.
        capture: Makes the quick step from the plain one and a first batch.

    Example:
        >>> total = torch.zeros(())
        >>> step = GraphedStep(lambda x, y: total.add_((x * y).sum()).clone(), [total], lambda step, x, y: step)
        >>> [step(torch.ones(2), torch.ones(2)).item() for _ in range(5)], step.captured
        ([2.0, 4.0, 6.0, 8.0, 10.0], True)
    """

    def __init__(self, step: Step, state: Sequence[Tensor], capture: Capture | None = None) -> None:
        self._plain, self._state = step, tuple(state)
        self._capture = capture or _cuda_graph
        self._quick: Step | None = None
        self._shapes: tuple[torch.Size, torch.Size] | None = None
        self._before_capture = WARM_UP

    @property
    def captured(self) -> bool:
        """Whether steps are graphs now."""
        return self._quick is not None

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """One step."""
        shapes = (x.shape, y.shape)
        if self._quick is not None and shapes == self._shapes:
            return self._quick(x, y)
        self._quick = None
        self._before_capture -= 1
        if self._before_capture != -1:
            return self._plain(x, y)
        self._shapes = shapes
        return self._captured_step(x, y)

    def _captured_step(self, x: Tensor, y: Tensor) -> Tensor:
        """A plain step, and the same again as a graph: if both agree, the graph stays."""
        before, random = self._copies(), random_state(x.device)
        values = self._plain(x, y).clone()
        after, random_after = self._copies(), random_state(x.device)
        try:
            quick = self._capture(self._plain, x, y)
            self._put_back(before)
            set_random_state(random, x.device)
            if _agree([quick(x, y), *self._copies()], [values, *after]):
                self._quick = quick
        except Exception:  # whatever a capture does, the plain step remains
            self._quick = None
        self._put_back(after)
        set_random_state(random_after, x.device)
        return values

    def _copies(self) -> list[Tensor]:
        return [t.detach().clone() for t in self._state]

    def _put_back(self, values: Sequence[Tensor]) -> None:
        for tensor, value in zip(self._state, values, strict=True):
            tensor.detach().copy_(value)


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in pairs)


def _cuda_graph(step: Step, x: Tensor, y: Tensor) -> Step:
    """The step as a CUDA graph over copies of a batch; never run yet, see `GraphedStep`."""
    static_x, static_y = x.clone(), y.clone()
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(x.device)
    try:
        with torch.cuda.graph(graph):
            values = step(static_x, static_y)
    except BaseException:
        # A capture that fails leaves its stream the current one, and the generator in the belief that it goes on.
        torch.cuda.set_stream(stream)
        fresh = torch.Generator(x.device).graphsafe_get_state()
        torch.cuda.default_generators[torch.cuda.current_device()].graphsafe_set_state(fresh)
        raise

    def replay(x: Tensor, y: Tensor) -> Tensor:
        static_x.copy_(x)
        static_y.copy_(y)
        graph.replay()
        return values

    return replay
