"""`evomal report`, `evomal plot` and `evomal show --audit`, on a run that was really made."""

import json

import pytest


def test_a_report_of_a_run(run, learned, tmp_path):
    ended = run("report", learned, "--out", "r.html")
    assert (ended.code, ended.out, ended.err) == (0, "written to r.html\n", "")
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!doctype html>")
    for part in ("evomal on digits/mlp", "8 candidates in 2 generations", "settings: genetic: population_size"):
        assert part in page
    again = run("report", learned, "--out", "r.html")
    assert (again.code, again.err) == (
        2,
        "evomal: error: 'r.html' exists; give another --out, or --force to replace it\n",
    )


def test_figures_of_a_run(run, learned, tmp_path):
    assert run("plot", "search", learned).out == "written to search.svg\n"
    shown = json.loads(run("plot", "gradient", learned, "focal", "-o", "g.png", "--json").out)
    assert shown == {"figure": "gradient", "file": "g.png"}
    assert (tmp_path / "g.png").read_bytes()[:4] == b"\x89PNG"


def test_a_file_of_the_default_name_is_replaced_by_force_alone(run, tmp_path):
    there = tmp_path / "loss.svg"
    there.write_text("mine")
    refused = run("plot", "loss", "focal")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "evomal: error: 'loss.svg' exists; give another --out, or --force to replace it\n"
    assert there.read_text() == "mine"
    assert run("plot", "loss", "focal", "--force").out == "written to loss.svg\n"
    assert "<svg" in there.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["loss.svg"]  # complete or absent, with nothing beside it


def test_a_figure_that_cannot_be_is_refused_before_anything_is_trained_for_it(run):
    ended = run("plot", "landscape", "focal", "--dataset", "no", "--model", "no", "-o", "x.bmp")
    assert ended.err == "evomal: error: 'x.bmp' ends with none of .svg, .png, .pdf; give a name that does\n"


def test_an_audit(run, learned):
    ended = run("show", learned, "--audit")
    assert (ended.code, ended.err) == (0, "")
    assert "The nearest known loss is " in ended.out
    assert "Lipschitz constant on the grid" in ended.out
    audit = json.loads(run("show", "cross_entropy", "--audit", "--json").out)
    assert audit["nearest"][0] == {"name": "cross_entropy", "distance": 0.0}
    assert audit["ablation"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nowhere"], "'nowhere' holds no run; give a run folder, or that of a comparison"),
        (["plot", "search", "nowhere"], "'nowhere' holds no run; give a run folder, or that of a comparison"),
        (["plot", "rates", "nowhere"], "'nowhere' holds no run; give a run folder, or that of a comparison"),
        (["plot", "los", "focal"], "unknown figure 'los'; did you mean 'loss'? (known: "),
        (["plot", "loss", "focl"], "unknown loss 'focl'; did you mean 'focal'? (known: "),
        (["plot", "loss", "focal", "mse"], "a figure shows losses of one task type; give those for classification"),
        (["plot", "los", "focal", "--lr", "1"], "unknown figure 'los'; did you mean 'loss'? (known: filters, finals, "),
        (["plot", "land", "focal"], "unknown figure 'land'; did you mean 'landscape'? (known: filters, "),
        (["plot", "loss", "focal", "--steps", "3"], "figure 'loss' trains nothing; leave out --steps\n"),
        (["plot", "loss", "focal", "--lr", "0.1"], "figure 'loss' trains nothing; leave out --lr\n"),
        (["plot", "search", "x", "--seed", "0"], "figure 'search' trains nothing; leave out --seed\n"),
        (["plot", "search", "x", "--preset", "quick"], "figure 'search' trains nothing; leave out --preset\n"),
        (
            ["plot", "search", "x", "--classes", "3"],
            "figure 'search' shows no losses, so no --classes; leave them out\n",
        ),
        (
            ["plot", "landscape", "focal", "--classes", "3"],
            "figure 'landscape' has the classes of its task; leave out ",
        ),
        (["plot", "finals", "x", "y"], "figure 'finals' is of one run's finals; give its folder alone\n"),
        (["plot", "rates", "x", "y"], "figure 'rates' is of one comparison or of one run's finals; give its folder "),
        (
            ["report", "x", "-o", "x.pdf"],
            "'x.pdf' ends with .pdf, but a report is an HTML page; give a name that ends ",
        ),
        (["show", "x", "--audit", "--as", "python"], "--audit and --as show different things; leave out one of them\n"),
        (["show", "x", "--audit", "--top", "3"], "--top and --audit show different things; leave out one of them\n"),
        (["show", "x", "--top", "3", "--as", "jax"], "--top and --as show different things; leave out one of them\n"),
        (["plot", "loss", "focal", "-o", "x.bmp"], "'x.bmp' ends with none of .svg, .png, .pdf; give a name that does"),
    ],
)
def test_what_is_refused(run, arguments, message):
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"evomal: error: {message}")
    assert ended.err.count("\n") == 1


def test_a_result_draws_and_reports_itself(tmp_path):
    import evomal
    from evomal.tasks import named_task

    small = {"population_size": 3, "generations": 1, "meta_steps": 1, "partial_steps": 5, "rejection_steps": 10}
    result = evomal.EvoMAL(preset="quick", rejection_threshold=0.0, **small).learn(named_task("iris", "linear"))
    assert result.plot("filters").get_xlabel() == "generation"
    assert result.plot("loss").get_xlabel() == "probability of the true class"
    page = result.report(tmp_path / "r.html").read_text()
    assert "3 candidates in 1 generations" in page


def test_published_losses_are_listed_drawn_and_trained_with(run):
    listed = json.loads(run("list", "--published", "--json").out)["published_losses"]
    assert set(listed) >= {"evomal_a", "ngl", "sparse_label_smoothing"}
    assert "2024" in listed["ngl"]
    assert run("plot", "loss", "ngl", "evomal_c", "cross_entropy").code == 0
    assert "It is not bounded" in run("show", "evomal_c", "--audit").out
    task = ["--dataset", "iris", "--model", "linear", "--preset", "quick", "--seeds", "0"]
    trained = run("train", *task, "--steps", "5", "--loss", "ngl", "--loss", "evomal_c", "--json")
    assert [each["loss"] for each in json.loads(trained.out)["results"]] == ["ngl", "evomal_c"]
    compared = run("compare", *task, "1", "--steps", "5", "--methods", "ngl", "--out", "c", "--quiet", "--json")
    assert [each["name"] for each in json.loads(compared.out)["contenders"]] == ["cross_entropy", "ngl"]
    assert run("report", "c").out == "written to c/report.html\n"


def test_a_landscape_needs_a_task_and_other_figures_none(run):
    task = ["--dataset", "iris", "--model", "linear"]
    drawn = run("plot", "landscape", "focal", *task, "--preset", "quick", "--steps", "5", "-o", "l.png")
    assert (drawn.code, drawn.out, drawn.err) == (0, "written to l.png\n", "")
    assert "give --dataset" in run("plot", "landscape", "focal").err
    assert "figure 'loss' is of no task; leave out --dataset" in run("plot", "loss", "focal", *task).err
