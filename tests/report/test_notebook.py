"""What notebooks show: as HTML that parses and is escaped, as LaTeX that a reader of LaTeX understands."""

import re
from html.parser import HTMLParser

import pytest
from matplotlib.mathtext import MathTextParser

import evomal
import evomal.tasks
from evomal.comparison import Comparison
from evomal.comparison.contenders import Contender
from evomal.losses import Criterion
from evomal.training import TrainingRun
from helpers import tasks

EVIL = '<script>alert("x")</script> & a_b'


class Reader(HTMLParser):
    """Collects text by tag, and checks that every tag is closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((self.open[-1], data))


def read(shown):
    reader = Reader(shown._repr_html_())
    assert "script" not in reader.tags
    return [text for _, text in reader.text], reader


@pytest.fixture(scope="module")
def result():
    return evomal.GPLFL(tasks.quick(method="gplfl", population_size=4, generations=1)).learn(tasks.blobs(name=EVIL))


def test_losses():
    loss = evomal.SymbolicLoss("square(sub(y, f))", [1.5, 1.0, 1.0], task_type="regression")
    texts, _ = read(loss)
    assert texts == ["SymbolicLoss", "formula", loss.formula(digits=4), "for", "regression"]
    assert loss._repr_latex_() == r"$\displaystyle \left(1.5\,\left(y - f_\theta(x)\right)\right)^2$"
    MathTextParser("path").parse(loss._repr_latex_().replace(r"\displaystyle ", ""))
    assert read(evomal.HandcraftedLoss("focal"))[0][2] == "focal"
    assert evomal.HandcraftedLoss("focal")._repr_latex_() is None


def test_a_loss_of_ones_own_and_one_too_long_to_typeset():
    class Own(Criterion):
        def per_instance(self, outputs, targets):
            return (outputs - targets).abs().sum(1)

    assert read(Own("regression"))[0] == ["Own", "for", "regression"]
    assert Own("regression")._repr_latex_() is None
    network = evomal.NeuralLoss(hidden=50, task_type="regression")
    assert read(network)[0][0] == "NeuralLoss"
    assert network._repr_latex_() is None


def test_what_a_loss_file_says_is_text(result, tmp_path):
    result.loss.save(tmp_path / "loss.json")
    loss = evomal.load_loss(tmp_path / "loss.json")
    loss.info["verdict"] = {"message": EVIL}
    texts, _ = read(loss)
    assert texts.count(EVIL) == 2  # the name of the task, and the verdict
    assert "gplfl" in texts
    loss.info = {"learned_on": EVIL, "tuned_for": 3, "verdict": [EVIL]}  # somebody else's file
    assert read(loss)[0][0] == "SymbolicLoss"


def test_results(result):
    texts, _ = read(result)
    assert texts[0] == result.message
    assert result.formula in texts
    assert EVIL in texts
    assert result._repr_latex_() == result.loss._repr_latex_()
    assert result._repr_latex_().startswith(r"$\displaystyle ")


def _contender(name, *values):
    runs = tuple(TrainingRun(lr, seed, value, value, 10, 1.0) for lr in (0.1, 1.0) for seed, value in enumerate(values))
    return Contender(name, "handcrafted", (), runs)


def test_comparisons():
    contenders = _contender("cross_entropy", 0.3, 0.28, 0.33), _contender(r"<i>a_b {5%} & #$1", 0.21, 0.2, 0.22)
    comparison = Comparison(EVIL, "error_rate", "cross_entropy", 0.1, (0.1, 1.0), (0, 1, 2), contenders, {})
    texts, reader = read(comparison)
    assert comparison.verdict in texts
    assert all(note in texts for note in comparison.notes())
    bold = [text for tag, text in reader.text if tag == "b"]
    assert "0.21" in bold[1]
    latex = comparison._repr_latex_()
    body = re.fullmatch(r"\$\$\\begin\{array\}\{lr+\} (.*) \\end\{array\}\$\$", latex)[1]
    cells = [row.removeprefix(r"\hline ").split(" & ") for row in body.split(r" \\ ")]
    assert [len(row) for row in cells] == [reader.tags.count("th")] * 3
    assert r"cross\_entropy" in latex
    for cell in [cell for row in cells for cell in row if cell != r"\mathrm{}"]:
        MathTextParser("path").parse(f"${cell}$".replace(r"\&", "and"))  # which matplotlib alone does not know


def test_what_training_and_tuning_come_to():
    task = evomal.tasks.named_task("iris", "linear")
    trained = evomal.train(task, ["cross_entropy", "focal"], steps=5, seeds=(0, 1))
    texts, reader = read(trained)
    assert reader.tags.count("tr") == 3
    assert {"cross_entropy", "focal", *trained.notes} <= {*texts}
    tuned = evomal.tune(task, evomal.SymbolicLoss("mul(y, f)", task_type="classification"), meta_steps=1)
    assert tuned.after in read(tuned)[0]
    assert tuned._repr_latex_().startswith("$")
