"""The card and its two ceilings, measured: bytes and operations per second; and what a launch costs."""

import platform
import subprocess

import torch

from benchmarks.gpu.given import Given, Note


def card(given: Given, note: Note) -> None:
    """Names and versions, bandwidth of a large copy, rates of large products, time of a launch."""
    note("python, torch", f"{platform.python_version()}, {torch.__version__}, CUDA {torch.version.cuda}")
    if given.cuda:
        about = torch.cuda.get_device_properties(0)
        note("card", f"{about.name}, {about.multi_processor_count} multiprocessors, {about.total_memory >> 20} MiB")
        ask = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.max.sm", "--format=csv,noheader"]
        note("driver, clocks", subprocess.run(ask, capture_output=True, text=True).stdout.strip())
        note("cudnn", str(torch.backends.cudnn.version()))
    size = 2**28 if given.cuda else 2**20
    source = torch.randn(size, device=given.place)
    target = torch.empty_like(source)
    seconds = given.per_step(lambda n: target.copy_(source), 10)
    note("copy, bytes/s read and written", 2 * source.nbytes / seconds)
    edge = 8192 if given.cuda else 128
    for name, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        a, b = (torch.randn(edge, edge, device=given.place, dtype=dtype) for _ in range(2))
        seconds = given.per_step(lambda n, a=a, b=b: a @ b, 5)
        note(f"product of {edge}², FLOP/s, {name}", 2 * edge**3 / seconds)
    torch.backends.cuda.matmul.allow_tf32 = False
    small = torch.zeros(8, device=given.place)
    note("a launch from Python, µs", 1e6 * given.per_step(lambda n: small.add_(1), 1000))
    if given.cuda:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(100):
                small.add_(1)
        note("a kernel within a graph of 100, µs", 1e4 * given.per_step(lambda n: graph.replay(), 100))
