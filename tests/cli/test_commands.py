import json
import math
import subprocess
import sys
from typing import get_args

import pytest
import torch
import yaml

import evomal
from evomal.config import PRESETS
from evomal.evaluation import stages
from evomal.evaluation.candidate import Outcome
from evomal.expressions import OPERATORS, TERMINALS, parse
from evomal.foundation.seeds import derive
from evomal.losses import HANDCRAFTED, LearnedLoss
from evomal.losses.published import PUBLISHED
from evomal.search import METHODS
from evomal.store import read_journal
from evomal.tasks import DATASETS, METRICS, MODELS, Batches, named_task

WINE = ["--dataset", "wine", "--model", "linear"]
OUTCOMES = set(get_args(Outcome))


def document(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_learn_tells_of_progress_and_ends_with_all_that_is_needed(run, small, tmp_path):
    ended = run("learn", *small)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["generation 1/2", "generation 2/2"]
    folder = tmp_path / "runs/digits-mlp-seed0"
    loss = evomal.load_loss(folder / "loss.json")
    shown = dict(line.split("  ", 1) for line in lines[2:])
    assert shown["formula"].strip() == loss.short()
    assert shown["fitness"].strip() == (
        f"{loss.info['fitness']:.4g} (error_rate on validation data after 20 base steps)"
    )
    assert shown["outcomes"].strip().endswith("(8 in all)")
    file = "runs/digits-mlp-seed0/loss.json"
    assert shown["loss file"].strip() == file
    assert shown["use it"].strip() == f"criterion = evomal.load_loss('{file}'); loss = criterion(outputs, targets)"
    assert len(read_journal(folder)) == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]
    assert not list((tmp_path / "runs").glob(".*"))


def test_python_m_is_the_command(run):
    command = [sys.executable, "-m", "evomal", "list", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == run("list", "--json").out


def test_learn_as_json_is_one_document_and_the_same_result(run, small, learned):
    ended = run("learn", *small, "--json", "--out", "b")
    result = document(ended.out)
    assert ended.err.count("generation ") == 2
    kept = json.loads((learned / "loss.json").read_text())
    assert (result["expression"], result["weights"]) == (kept["expression"], kept["weights"])
    assert (result["fitness"], result["loss"]) == (kept["fitness"], "b/loss.json")
    assert sum(result["outcomes"].values()) == 8
    assert set(result["outcomes"]) <= OUTCOMES


def test_learn_replaces_a_run_only_when_forced(run, small, tmp_path):
    quick = [*small, "--meta-steps", "0", "--generations", "1", "--out", "a", "--quiet"]
    assert run("learn", *quick).code == 0
    before = (tmp_path / "a/journal.jsonl").read_text()
    refused = run("learn", *quick, "--seed", 1)
    assert refused.code == 2
    assert refused.err == (
        "evomal: error: 'a' already holds a run; go on with it by --resume, give another --out, or --force to "
        "replace it\n"
    )
    assert (tmp_path / "a/journal.jsonl").read_text() == before
    # Bad input does not cost the old run either.
    assert run("learn", *quick, "--force", "--dataset", "digit").code == 2
    assert (tmp_path / "a/journal.jsonl").read_text() == before
    ended = run("learn", *quick, "--seed", 1, "--force")
    assert ended.code == 0
    assert "generation" not in ended.out  # quiet
    assert yaml.safe_load((tmp_path / "a/config.yaml").read_text())["settings"]["seed"] == 1


def test_learn_says_so_if_everything_was_rejected(run, small, monkeypatch):
    monkeypatch.setattr("evomal.evaluation.course.passes", lambda *args: False)
    ended = run("learn", *small, "--generations", 1, "--population", 2, "--out", "a")
    assert ended.code == 0
    assert "none of the 2 candidates could be trained" in ended.out
    assert "use it" not in ended.out
    assert document(run("show", "a", "--json").out)["info"]["fitness"] is None


def test_dry_run_prices_the_stages_and_writes_nothing(run, small, tmp_path):
    ended = run("learn", *small, "--dry-run", "--workers", 500)
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == [
        *("digits/mlp:", "stage", "tune", "filter", "train", "total", "assumed:")
    ]
    assert "classification, 10 classes; 1293 training, 144 validation, 360 test instances" in ended.out
    assert ended.err.startswith("evomal: warning: 500 workers share ")
    priced = document(run("learn", *small, "--dry-run", "--json").out)
    assert [stage["name"] for stage in priced["stages"]] == ["tune", "filter", "train"]
    assert 0 < priced["least_seconds"] < priced["most_seconds"]
    assert list(tmp_path.iterdir()) == []


def test_train_compares_losses_over_seeds_and_rates(run, learned, tmp_path):
    ended = run(
        *("train", "--loss", learned, "cross_entropy", "--dataset", "digits", "--model", "mlp"),
        *("--seeds", 0, 1, 1, "--lr", "0.01,0.1", "--steps", 30, "--json", "--out", "r.json"),
    )
    results = document(ended.out)
    assert results == json.loads((tmp_path / "r.json").read_text())
    assert (results["settings"]["seeds"], results["settings"]["lrs"]) == ([0, 1], [0.01, 0.1])
    mine, rival = results["results"]
    for result in (mine, rival):
        chosen = [run["test"] for run in result["runs"] if run["lr"] == result["lr"]]
        assert len(result["runs"]) == 4
        assert result["mean"] == pytest.approx(sum(chosen) / 2)
        assert result["sd"] == pytest.approx(abs(chosen[0] - chosen[1]) / math.sqrt(2))
    assert rival["lr"] == 0.1
    assert rival["notes"] == ["its best lr 0.1 is at the edge of those tried; try greater ones too"]
    assert mine["formula"] == evomal.load_loss(learned / "loss.json").formula(digits=4)
    assert ended.err.count("seed ") == 8


def test_train_prints_a_table_and_what_must_be_known_to_read_it(run, learned):
    ended = run("train", "--loss", learned / "loss.json", *WINE, "--steps", 5, "--momentum", 0.5, "--lr", 0.1)
    assert (ended.code, ended.err) == (0, "")
    table = ended.out.splitlines()[1:3]
    assert " ".join(table[0].split()) == "loss lr test error_rate, mean ± sd each seed seconds in all"
    assert "±" not in table[1]  # one seed has no spread
    # The ratio is that of this task, not the one in the file.
    loss, wine = evomal.load_loss(learned / "loss.json"), named_task("wine", "linear")
    x, y = wine.train.take(Batches(len(wine.train), 128, 0, wine.key, "partial", "batches").index(0))
    model, norms = wine.make_model(derive(0, wine.key, "partial", "init")), []
    for criterion in (loss, wine.task_loss):
        model.zero_grad()
        criterion(model(x), y).backward()
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())
    ratio = float(norms[0] / norms[1])
    assert [line.split(": ", 1)[1] for line in ended.out.splitlines()[3:]] == [
        "tuned for lr 0.01, momentum 0; used here with lr 0.1, momentum 0.5",
        "learned on digits/mlp, used on wine/linear: this is transfer",
        f"its first gradients are {ratio:.3g} × the task loss's: compare with cross_entropy at its best learning rate",
    ]
    ended = run("train", "--loss", "cross_entropy", *WINE, "--steps", 5, "--seeds", 0, 1, "--quiet")
    _, row, note = ended.out.splitlines()
    assert " ± " in row
    assert note.startswith(
        "cross_entropy: cross_entropy itself hardly learns with sgd at 0.01: choose another optimiser"
    )


def test_train_says_that_a_training_diverged(run):
    diabetes = ["train", "--loss", "mse", "--dataset", "diabetes", "--model", "linear", "--lr", 1e6, "--steps", 50]
    ended = run(*diabetes)
    assert ended.code == 0
    assert "diverged" in ended.out.splitlines()[2]
    assert "mse: 1 of 1 trainings diverged: seed 0 at lr 1e+06 (the loss is not finite at step " in ended.out
    assert ended.err == "evomal: every training diverged; try a smaller --lr\n"
    ended = run(*diabetes, "--json", "--seeds", 0, 1)
    (result,) = document(ended.out)["results"]
    assert result["mean"] is result["sd"] is result["runs"][0]["test"] is None


def test_train_gives_the_same_numbers_with_workers(run):
    command = ["train", "--loss", "cross_entropy", *WINE, "--steps", 5, "--seeds", 0, 1, 2, "--json"]
    alone, spread = (document(run(*command, "--workers", workers).out)["results"][0] for workers in (1, 2))
    assert [run["test"] for run in alone["runs"]] == [run["test"] for run in spread["runs"]]


def test_tune_starts_from_the_file_or_afresh_and_says_what_for(run, learned, tmp_path):
    before = evomal.load_loss(learned / "loss.json")
    command = ["tune", "--loss", learned, *WINE, "--lr", 0.05]
    ended = run(*command, "--meta-steps", 0, "--out", "same.json")
    assert f"before      {before.formula(digits=4)}\nafter       {before.formula(digits=4)}\n" in ended.out
    ended = run(*command, "--meta-steps", 2, "--meta-lr", 0.5, "--fresh", "--out", "new.json", "--json")
    after = evomal.load_loss(tmp_path / "new.json")
    assert document(ended.out)["after"] == after.formula(digits=4)
    assert document(ended.out)["steps"] == 2
    assert (after.weights - 1).abs().max() > 0.1
    assert after.expression == before.expression
    assert after.info["tuned_for"].items() >= {"lr": 0.05, "meta_steps": 2, "batch_size": 128}.items()
    assert after.info["tuned_on"]["dataset"] == "wine"
    assert after.info["learned_on"]["dataset"] == "digits"
    assert "fitness" not in after.info
    refused = run(*command, "--out", "new.json")
    assert refused.code == 2
    assert refused.err == "evomal: error: 'new.json' exists; give another --out, or --force to replace it\n"
    assert run(*command, "--meta-steps", 0, "--out", "new.json", "--force", "--quiet").code == 0
    assert torch.equal(evomal.load_loss(tmp_path / "new.json").weights, before.weights)


def test_show_a_loss(run, learned):
    loss = evomal.load_loss(learned / "loss.json")
    shown = document(run("show", learned, "--json").out)
    assert shown["formula"] == loss.formula(digits=4)
    assert shown["weights"] == loss.weights.tolist()
    # In the order of the weights: the subtree that each one multiplies.
    nodes = list(parse(shown["expression"]).preorder())[1:]
    assert [edge["child"] for edge in shown["edges"]] == [str(node) for node in nodes]
    assert [edge["weight"] for edge in shown["edges"]] == shown["weights"]
    assert shown["info"] == loss.info
    assert shown["simplified"]["text"]
    text = run("show", learned / "loss.json").out
    for part in (shown["formula"], shown["latex"], shown["simplified"]["text"], "digits", "momentum 0"):
        assert part in text


def test_show_puts_softplus_around_every_form(run, tmp_path):
    evomal.SymbolicLoss("square(sub(y, f))", task_type="regression", output_activation="softplus").save(
        tmp_path / "l.json"
    )
    shown = document(run("show", "l.json", "--json").out)
    assert shown["formula"] == "softplus((y - f)²)"
    assert shown["simplified"]["text"] == "softplus((f - y)**2)"
    assert shown["latex"].startswith(r"\operatorname{softplus}\left(")


def test_show_the_best_formulas_of_a_run(run, learned):
    records = read_journal(learned)
    best = min((r for r in records if r["fitness"] is not None), key=lambda r: r["fitness"])
    rows = document(run("show", learned, "--top", 100, "--json").out)["formulas"]
    assert {row["expression"] for row in rows} == {record["expression"] for record in records}
    assert len(rows) == len({row["expression"] for row in rows})
    assert (rows[0]["expression"], rows[0]["fitness"]) == (best["expression"], best["fitness"])
    ranked = [math.inf if row["fitness"] is None else row["fitness"] for row in rows]
    assert ranked == sorted(ranked)
    assert len(run("show", learned, "--top", 2).out.splitlines()) == 3


def test_the_reason_is_shown_where_one_has_no_fitness(run, small, monkeypatch):
    train = stages._partial_training

    def bad_day(task, settings, loss, rate):
        if isinstance(loss, LearnedLoss):
            raise ValueError("a bad day")
        return train(task, settings, loss, rate)

    monkeypatch.setattr(stages, "_partial_training", bad_day)
    assert run("learn", *small, "--no-rejection", "--generations", 1, "--out", "a", "--quiet").code == 0
    rows = document(run("show", "a", "--top", 2, "--json").out)["formulas"]
    assert {row["outcome"] for row in rows} == {"failed"}
    assert {row["reason"] for row in rows} == {"ValueError: a bad day"}
    head, *lines = run("show", "a", "--top", 2).out.splitlines()
    assert head.split() == ["fitness", "size", "outcome", "formula", "reason"]
    assert all(line.endswith("  ValueError: a bad day") for line in lines)


def test_a_task_loss_that_fails_itself_is_told_with_exit_1_and_leaves_nothing(run, small, tmp_path):
    ended = run("learn", *small, "--lr", "1e30", "--out", "a")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("evomal: error: the task loss 'cross_entropy' itself fails in partial training (")
    assert ended.err.endswith("or give a smaller --lr than 1e+30\n")
    assert list(tmp_path.iterdir()) == []


def test_list_names_everything(run):
    names = document(run("list", "--json").out)
    known = {
        **{"data_sets": DATASETS, "models": MODELS, "methods": METHODS, "handcrafted_losses": HANDCRAFTED},
        **{
            "published_losses": PUBLISHED,
            "metrics": METRICS,
            "presets": PRESETS,
            "terminals": TERMINALS,
            "operators": OPERATORS,
        },
    }
    assert {kind: set(entries) for kind, entries in names.items()} == {kind: set(ns) for kind, ns in known.items()}
    assert all(word for entries in names.values() for word in entries.values())
    text = run("list").out
    assert "  digits              1,797 digits, 8×8 (classification)\n" in text
    # Parameters by the names that a loss's name may give them.
    assert "(classification; too many easy instances; gamma=2 or 0.5, 1, 3, 5)\n" in text
    assert "\npublished losses:\n  evomal_a " in text


def test_a_softplus_is_shown_wherever_the_formula_is(run, small, tmp_path):
    ended = run("learn", *small, "--generations", 1, "--output-activation", "softplus", "--out", "a", "--quiet")
    assert "softplus(" in ended.out
    top = run("show", "a", "--top", 2, "--json")
    assert all(row["formula"].startswith("softplus(") for row in document(top.out)["formulas"])
    assert document(run("show", "a", "--json").out)["formula"].startswith("softplus(")
