import json
import signal
import subprocess
import sys
import time

import pytest

import evomal
from evomal.cli import main
from evomal.store import read_journal


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_the_search_with_the_best_loss(tmp_path, small, workers):
    folder = tmp_path / "a"
    command = [sys.executable, "-m", "evomal.cli", "learn", *small, "--generations", "100000", "--workers", workers]
    process = subprocess.Popen(
        [*command, "--out", str(folder), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        journal, until = folder / "journal.jsonl", time.monotonic() + 120
        while not (journal.exists() and journal.read_text().endswith("\n")) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    result = json.loads(out)
    assert process.returncode == 130
    assert result["interrupted"] is True
    best = f"the best loss so far is in {folder / 'loss.json'}"
    assert err.splitlines()[-1] == f"evomal: stopped; {best}, go on with evomal learn --resume {folder}"
    assert "Traceback" not in err
    loss = evomal.load_loss(folder / "loss.json")
    assert str(loss.expression) == result["expression"]
    assert sum(result["outcomes"].values()) == len(read_journal(folder))


def test_ctrl_c_that_a_library_turns_into_another_error_is_still_a_stop(monkeypatch, capsys):
    def load():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RecursionError("maximum recursion depth exceeded") from None

    monkeypatch.setattr("evomal.cli.source.TaskSource.load", lambda self: load())
    assert main(["train", "--dataset", "iris", "--model", "linear", "--loss", "focal", "--seeds", "0"]) == 130
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "evomal: stopped before there was a result\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
