"""A training step as a CUDA graph: launched by one call instead of one for every kernel."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from evomal.foundation.contexts import Switch
from evomal.foundation.errors import one_line
from evomal.foundation.seeds import random_state, set_random_state

Step = Callable[..., Tensor]
Capture = Callable[..., Step]

WARM_UP = 3  # steps in which libraries choose their kernels

graphs = Switch()
"""Whether steps become CUDA graphs where there is CUDA."""


def graphs_on(device: torch.device) -> bool:
    """Whether steps on a device become CUDA graphs."""
    return graphs.on and device.type == "cuda"


class GraphedStep:
    """A step ``(*inputs) -> values`` that changes some tensors in place, captured once it has run a few times.

    The captured step is trusted after it has done to the state, and given, what the plain step did from the same state
    with the same random numbers; after any failure, or for inputs of other shapes, steps are plain for good.

    Args:
        step: The plain step; it takes tensors, and what it gives may be overwritten by the next step.
        state: All tensors that it changes in place.
        capture: Makes the quick step from the plain one and first inputs; None captures a CUDA graph.

    Attributes:
        failure: Why there is no graph though one was tried, in a line; None if there is one, or none was tried yet.

    Example:
        >>> total = torch.zeros(())
        >>> step = GraphedStep(lambda x, y: total.add_((x * y).sum()).clone(), [total], lambda step, *inputs: step)
        >>> [step(torch.ones(2), torch.ones(2)).item() for _ in range(5)], step.captured
        ([2.0, 4.0, 6.0, 8.0, 10.0], True)
    """

    def __init__(self, step: Step, state: Sequence[Tensor], capture: Capture | None = None) -> None:
        self._state = tuple(state)
        device = self._state[0].device
        # Warm-up and capture share a stream: what autograd keeps of one would else make the other wait across streams.
        self._stream = torch.cuda.Stream(device) if capture is None and device.type == "cuda" else None
        # Nothing here may refer to itself: a graph has to go when its step does, not while another one is captured.
        self._step, self._capture = step, capture
        self._quick: Step | None = None
        self._shapes: tuple[torch.Size, ...] | None = None
        self._before_capture = WARM_UP
        self.failure: str | None = None

    @property
    def captured(self) -> bool:
        """Whether steps are graphs now."""
        return self._quick is not None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """One step."""
        shapes = tuple(each.shape for each in inputs)
        if self._quick is not None and shapes == self._shapes:
            return self._quick(*inputs)
        self._quick = None
        self._before_capture -= 1
        if self._before_capture != -1:
            return self._plain(*inputs)
        self._shapes = shapes
        return self._captured_step(*inputs)

    def _plain(self, *inputs: Tensor) -> Tensor:
        if self._stream is None:
            return self._step(*inputs)
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            values = self._step(*inputs)
        current.wait_stream(self._stream)
        return values

    def _captured_step(self, *inputs: Tensor) -> Tensor:
        """A plain step, and the same again as a graph: if both agree, the graph stays."""
        device = self._state[0].device
        before, random = self._copies(), random_state(device)
        values = self._plain(*inputs).clone()
        after, random_after = self._copies(), random_state(device)
        try:
            quick = (
                self._capture(self._step, *inputs) if self._capture else _cuda_graph(self._step, inputs, self._stream)
            )
            self._put_back(before)
            set_random_state(random, device)
            if _agree([quick(*inputs), *self._copies()], [values, *after]):
                self._quick = quick
            else:
                self.failure = "the captured step does something else than the plain one"
        except Exception as error:  # whatever a capture does, the plain step remains
            self._quick, self.failure = None, one_line(error)
        self._put_back(after)
        set_random_state(random_after, device)
        return values

    def _copies(self) -> list[Tensor]:
        return [t.detach().clone() for t in self._state]

    def _put_back(self, values: Sequence[Tensor]) -> None:
        for tensor, value in zip(self._state, values, strict=True):
            tensor.detach().copy_(value)


def _cuda_graph(step: Step, inputs: Sequence[Tensor], side: torch.cuda.Stream | None) -> Step:
    """The step as a CUDA graph over copies of its inputs, captured on a stream that it has run on before."""
    if side is None:
        raise RuntimeError("there are no CUDA graphs on a CPU")
    device = side.device
    static = [each.clone() for each in inputs]
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device)
    try:
        with _no_collection(), torch.cuda.graph(graph, stream=side):
            values = step(*static)
    except BaseException:
        # A capture that fails leaves its stream the current one, and the generator in the belief that it goes on.
        torch.cuda.set_stream(stream)
        fresh = torch.Generator(device).graphsafe_get_state()
        torch.cuda.default_generators[torch.cuda.current_device()].graphsafe_set_state(fresh)
        raise

    def replay(*inputs: Tensor) -> Tensor:
        for own, each in zip(static, inputs, strict=True):
            own.copy_(each)
        graph.replay()
        return values

    return replay


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from freeing another graph, or an event, in the middle of a capture: that would end it."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in pairs)
