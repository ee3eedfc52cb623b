"""The command: parts in a process of their own, each with a time limit; all that is known is written at once."""

import json
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from benchmarks.gpu.given import Given
from benchmarks.gpu.table import markdown

LIMITS = {  # seconds: in full, and quick; 0 leaves it out
    "card": (40, 30),
    "base_step": (80, 40),
    "meta_step": (80, 40),
    "filter_steps": (30, 20),
    "agreement": (60, 30),
    "search": (80, 45),
    "synchronisations": (40, 20),
    "kernels": (50, 30),
    "whole_search": (200, 0),
    "where": (40, 25),
    "memory": (30, 20),
    "larger": (50, 25),
    "variants": (60, 0),
}


def gpu(
    device: str = "",
    quick: bool = False,
    parts: str = "",
    data: str = "",
    out: Path = Path("gpu"),
    limit: float = 0.0,
) -> dict[str, Any]:
    """Correctness and speed on a GPU, part by part; gpu.json and gpu.md in the folder `out` are renewed all the time.

    `device` is the GPU if there is one, else the CPU, where sizes are tiny: a dry run. `quick` takes a minute or so,
    in full it takes less than eight. `parts` names those that are wanted, apart by spaces. `data` is the folder of
    Fashion-MNIST's four IDX files. `limit` ends everything after so many seconds (quick 110, in full 460).
    """
    import torch

    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    given = Given(place, quick or place == "cpu", str(Path(data).resolve()) if data else "")
    names = parts.split() or [name for name, limits in LIMITS.items() if limits[quick]]
    if unknown := [name for name in names if name not in LIMITS]:
        raise SystemExit(f"unknown part '{unknown[0]}'; known: {', '.join(LIMITS)}")
    until = time.monotonic() + (limit or (110 if quick else 460))
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"given": asdict(given), "command": sys.argv, "parts": {}}
    worker = Worker(given)
    try:
        for name in names:
            part: dict[str, Any] = {"status": "running", "found": {}}
            found["parts"][name] = part
            seconds = min(LIMITS[name][quick] or LIMITS[name][0], until - time.monotonic())
            worker.run(name, seconds, part, lambda: _write(out, found))
            _write(out, found)
            print(f"{name}: {part['status']}, {part['seconds']:.1f} s", flush=True)
            if "error" in part:
                print(part["error"], flush=True)
    finally:
        worker.end()
    print(markdown(found))
    return found


def _write(out: Path, found: dict[str, Any]) -> None:
    (out / "gpu.json").write_text(json.dumps(found, indent=1, default=str), encoding="utf-8")
    (out / "gpu.md").write_text(markdown(found), encoding="utf-8")


class Worker:
    """A process that runs parts; a new one takes over where it hangs or dies."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._process: Any = None
        self._pipe: Connection | None = None

    def run(self, name: str, seconds: float, part: dict[str, Any], noted: Callable[[], None]) -> None:
        """Run a part, for so many seconds at most; what it finds goes into `part` as it comes."""
        start = time.monotonic()
        part["status"] = self._followed(name, start + seconds, part, noted) if seconds > 3 else "no time left"
        part["seconds"] = time.monotonic() - start
        if part["status"] in ("out of time", "died"):
            self.end()

    def _followed(self, name: str, until: float, part: dict[str, Any], noted: Callable[[], None]) -> str:
        try:
            pipe = self._started()
            pipe.send(name)
            while True:
                if not pipe.poll(max(0.0, until - time.monotonic())):
                    return "out of time"
                kind, *values = pipe.recv()
                if kind == "note":
                    part["found"][values[0]] = values[1]
                    noted()
                elif kind == "failed":
                    part["error"] = values[0]
                    return "failed"
                else:
                    return "done"
        except (EOFError, OSError) as error:
            part["error"] = f"the process died: {error!r}, exit code {getattr(self._process, 'exitcode', None)}"
            return "died"

    def _started(self) -> Connection:
        if self._process is None or self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, other = context.Pipe()
            self._process = context.Process(target=serve, args=(other, self._given), daemon=False)
            self._process.start()
            other.close()
        return self._pipe

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            for child in psutil.Process(self._process.pid).children(recursive=True) if self._process.is_alive() else ():
                child.kill()
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None


def serve(pipe: Connection, given: Given) -> None:
    """In the process: run parts by name as they are asked for."""
    from benchmarks.gpu import parts
    from evomal.training.precision import precision

    while True:
        try:
            name = pipe.recv()
        except EOFError:
            return
        try:
            with precision("float32", given.place):
                getattr(parts, name)(given, lambda key, value: pipe.send(("note", key, value)))
            pipe.send(("done",))
        except BaseException:
            pipe.send(("failed", traceback.format_exc()))
