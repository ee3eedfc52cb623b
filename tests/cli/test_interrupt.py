import json
import os
import signal
import subprocess
import sys
import time

import pytest

import evomal
from evomal.cli import main
from evomal.store import read_journal


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_the_search_with_the_best_loss(tmp_path, small, workers, fork):
    """One process is told alone, another with its workers, as a terminal does; that one is real, not a fork."""
    folder, files = tmp_path / "a", [tmp_path / name for name in ("out", "err")]
    arguments = ["learn", *small, "--generations", "100000", "--workers", workers, "--out", str(folder), "--json"]
    if workers == "1":
        process = fork.start(arguments, tmp_path, *files, {})
    else:
        with files[0].open("w") as out, files[1].open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "evomal.cli", *arguments], stdout=out, stderr=err, start_new_session=True
            )
    try:
        journal, until = folder / "journal.jsonl", time.monotonic() + 120
        while not (journal.exists() and journal.read_text().endswith("\n")) and time.monotonic() < until:
            time.sleep(0.02)
        if workers == "1":
            process.send_signal(signal.SIGINT)
        else:
            os.killpg(process.pid, signal.SIGINT)
        code = process.wait(120)
    finally:
        process.kill()
    out, err = (file.read_text() for file in files)
    result = json.loads(out)
    assert code == 130
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
