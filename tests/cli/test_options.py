import json
import subprocess
import sys

import pytest
import yaml
from typer.main import get_command

from evomal.cli.app import app
from evomal.cli.options import repeated
from evomal.cli.source import TaskSource
from evomal.config import PRESETS, LearnSettings, TrainSettings, flat_fields
from evomal.foundation.errors import SettingError, UnknownNameError
from evomal.losses import HANDCRAFTED


def options_of(command):
    return {parameter.name: parameter for parameter in get_command(app).commands[command].params}


@pytest.mark.parametrize(
    ("command", "kind", "left_out"),
    [("learn", LearnSettings, set()), ("train", TrainSettings, {"lr"})],  # train: `lrs` is its --lr
)
def test_every_setting_has_an_option_whose_help_is_its_description(command, kind, left_out):
    options = options_of(command)
    for name, stage in flat_fields(kind).items():
        if name in left_out:
            continue
        owner = kind.model_fields[stage].annotation if stage else kind
        assert owner.model_fields[name].description[1:] in options[name].help
        assert options[name].default is None  # "not given", so that a preset can speak


def test_a_setting_that_may_be_none_is_an_option_of_its_own_kind(run):
    shown = dict(line.split()[:2] for line in run("learn", "--help").out.splitlines() if line.startswith("  --"))
    kinds = {"--max-time": "<str>", "--max-evaluations": "<int>", "--target-fitness": "<float>", "--patience": "<int>"}
    assert {flag: shown[flag] for flag in kinds} == kinds
    assert shown["--start-from"] == "<list[str]>"
    options = options_of("learn")
    assert all(options[flag[2:].replace("-", "_")].help.endswith(" (default: no limit).") for flag in kinds)
    assert options["start_from"].help.endswith(" (not taylorglo, ml3; default none).")
    assert not [name for name, option in options.items() if "None" in (option.help or "")]


def test_the_help_says_whose_a_setting_is():
    shown = {name: option.help for name, option in options_of("learn").items()}
    assert shown["sigma"].endswith(" of CMA-ES (glo, taylorglo; default 1.2).")
    assert shown["racing_keep"].endswith(" at least one (not ml3; with racing; default 0.15).")
    assert shown["momentum"] == "Momentum (with optimizer sgd, rmsprop; default 0.0)."
    assert shown["gamma"].endswith(" each milestone (with schedule step; default 0.1).")
    assert shown["method"].endswith(": evomal, gplfl, glo, taylorglo, ml3 (default evomal).")
    assert options_of("train")["gamma"].help == shown["gamma"]


def test_limits_and_losses_to_start_from_reach_the_settings(run, monkeypatch):
    def prepare(self, config):
        raise SettingError(json.dumps(config["settings"]))

    monkeypatch.setattr("evomal.store.folder.RunFolder.prepare", prepare)
    iris = ["learn", "--dataset", "iris", "--model", "linear"]
    formula = "abs(log(mul(y, f)))"
    limits = ["--max-time", "2h30m", "--max-evaluations", 40, "--target-fitness", -1.5, "--patience", 3]
    ended = run(*iris, *limits, "--start-from", "cross_entropy", formula, "a,b.json")
    settings = json.loads(ended.err.removeprefix("evomal: error: "))
    assert settings["genetic"]["start_from"] == ["cross_entropy", formula, "a,b.json"]
    assert settings["limits"] == {**{"max_time": 9000.0, "max_evaluations": 40, "target_fitness": -1.5, "patience": 3}}
    message = "setting 'max_time': '2 hrs' is no time; write seconds, or such as 45m or 2h30m"
    assert run(*iris, "--max-time", "2 hrs") == (2, "", f"evomal: error: {message}\n")


def test_options_are_spelled_as_the_design_says():
    spelled = {flag for option in options_of("learn").values() for flag in option.opts}
    named = (
        "dataset model method seed generations population out meta-steps base-steps partial-steps preset workers device"
    )
    assert {f"--{name}" for name in named.split()} <= spelled
    assert {"--loss", "--lr", "--steps", "--seeds"} <= {f for o in options_of("train").values() for f in o.opts}


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys; from evomal.cli import main\n"
        "codes = [main([]), main(['--version']), main(['--help']), main(['learn', '--help']), main(['tune', '-h'])]\n"
        "assert codes == [0] * 5, codes\n"
        "print('heavy:', sorted({'torch', 'sklearn', 'sympy', 'numpy', 'pooch', 'joblib'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "heavy: []"
    assert "evomal 0.1.0" in ended.stdout
    assert ended.stderr == ""


def test_settings_are_written_before_torch_is_imported(tmp_path, small):
    code = (
        "import sys\n"
        "from evomal.store.folder import RunFolder\n"
        "from evomal.cli import main\n"
        "prepare = RunFolder.prepare\n"
        "def watched(self, config):\n"
        "    prepare(self, config)\n"
        "    found = list(self.path.parent.glob('.*/config.yaml'))\n"
        "    print(len(found), {'torch', 'numpy', 'sklearn'} & set(sys.modules) or 'nothing heavy')\n"
        "    raise SystemExit(0)\n"
        "RunFolder.prepare = watched\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "learn", *small, "--out", str(tmp_path / "a")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == "1 nothing heavy\n"


def test_explicit_options_override_presets(run, tmp_path):
    given = ["--generations", 1, "--population", 2, "--meta-steps", 0, "--partial-steps", 1, "--no-rejection"]
    ended = run(
        *("learn", "--dataset", "iris", "--model", "linear", "--preset", "quick", *given),
        *("--no-gradient-equivalence", "--nesterov", "--momentum", 0.9, "--seed", 4, "--output-activation", "softplus"),
    )
    assert ended.code == 0
    config = yaml.safe_load((tmp_path / "runs/iris-linear-seed4/config.yaml").read_text())
    settings = config["settings"]
    assert (settings["genetic"]["generations"], settings["genetic"]["population_size"]) == (1, 2)
    quick = {name: PRESETS["quick"][name] for name in ("lr", "batch_size")}
    expected = {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.0, **quick}
    assert {name: settings["base"][name] for name in expected} == expected
    assert settings["filters"]["rejection"] is settings["filters"]["gradient_equivalence"] is False
    assert settings["partial_steps"] == 1
    assert (settings["seed"], settings["output_activation"]) == (4, "softplus")
    assert config["task"]["dataset"] == "iris"
    assert config["preset"] == "quick"
    assert config["command"].startswith("evomal learn --dataset iris --model linear --preset quick")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--seeds 0 1 2 --json", "--seeds 0 --seeds 1 --seeds 2 --json"),
        ("--seeds 0,1,2", "--seeds 0 --seeds 1 --seeds 2"),
        ("--seeds=0,1 2", "--seeds 0 --seeds 1 --seeds 2"),
        ("--seeds 0 --seeds 1", "--seeds 0 --seeds 1"),
        ("--lr 1e-3 -0.5 --out x", "--lr 1e-3 --lr -0.5 --out x"),
        ("--loss a,b.json cross_entropy --steps 5", "--loss a,b.json --loss cross_entropy --steps 5"),
        ("--seeds --json", "--seeds --json"),
        ("--json", "--json"),
    ],
)
def test_a_list_option_takes_several_values(given, meant):
    assert repeated(given.split(), {"--seeds", "--lr", "--loss"}) == meant.split()


HARDER = {
    "task_loss": ("cross_entropy", "task-loss-cross_entropy"),
    "width": (0.5, "width-0.5"),
    "augmentation": ("crop", "augmentation-crop"),
    "train_size": (500, "train-size-500"),
    "imbalance": (100.0, "imbalance-100"),
    "label_noise": (0.4, "label-noise-0.4"),
    "target_noise": (0.5, "target-noise-0.5"),
}


@pytest.mark.parametrize("command", ["learn", "train", "tune"])
def test_a_harder_task_can_be_asked_for_by_every_command(command):
    options = options_of(command)
    assert all(options[name].opts == [f"--{name.replace('_', '-')}"] for name in HARDER)
    assert all(options[name].default is None for name in HARDER)


@pytest.mark.parametrize("name", HARDER)
def test_what_makes_a_task_harder_is_in_its_folder_and_its_record_and_no_users_task_takes_it(name):
    value, slug = HARDER[name]
    source = TaskSource("digits", "mlp", **{name: value})
    assert source.slug == f"digits-mlp-{slug}"
    assert source.as_dict()[name] == value
    assert TaskSource("digits", "mlp").as_dict()[name] is None
    with pytest.raises(SettingError) as error:
        TaskSource(task="my.py:make", **{name: value})
    flag = name.replace("_", "-")
    assert str(error.value) == f"--task brings its own data and task loss; leave out --{flag}, or do it in its file"


def test_the_task_is_loaded_with_what_makes_it_harder():
    source = TaskSource("digits", "linear", metric="macro_f1", train_size=500, imbalance=5.0, label_noise=0.25)
    task = source.load()
    assert task.name == "digits/linear (train size 500, imbalance 5, label noise 0.25)"
    assert source.slug == "digits-linear-train-size-500-imbalance-5-label-noise-0.25"
    assert task.metric.name == "macro_f1"
    noisy = TaskSource("diabetes", "linear", metric="mae", task_loss="mae", target_noise=0.5).load()
    assert (noisy.name, noisy.task_loss_name) == ("diabetes/linear (target noise 0.5)", "mae")
    with pytest.raises(UnknownNameError, match=r"^unknown loss 'hubr'; did you mean 'huber'\?"):
        TaskSource("diabetes", "linear", task_loss="hubr").load()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--label-noise nan", "label_noise is nan; choose a share from 0 to below 1, such as 0.4"),
        ("--label-noise 1", "label_noise is 1.0; choose a share from 0 to below 1, such as 0.4"),
        ("--imbalance nan", "imbalance is nan; choose a ratio from 1 to below 1e9, such as 100"),
        ("--train-size 0", "train_size is 0; choose a whole number of instances, at least 1"),
        (
            "--train-size 2000",
            "train_size is 2000, but data set 'digits' has 1293 training instances; choose at most 1293",
        ),
        (
            "--target-noise 1",
            "target_noise is for regression, but data set 'digits' is for classification; leave it out",
        ),
        (
            "--task-loss cross_entropi",
            "unknown loss 'cross_entropi'; did you mean 'cross_entropy'? (known: "
            + ", ".join(sorted(HANDCRAFTED))
            + ")",
        ),
        (
            "--task-loss mse",
            "task_loss 'mse' is for regression, but data set 'digits' is for classification; give another",
        ),
    ],
)
def test_a_harder_task_that_cannot_be_is_one_line(run, given, message):
    ended = run("train", "--dataset", "digits", "--model", "linear", "--loss", "cross_entropy", *given.split())
    assert ended == (2, "", f"evomal: error: {message}\n")


def test_training_on_a_harder_task(run, tmp_path):
    harder = ["--dataset", "digits", "--model", "linear", "--train-size", 200, "--label-noise", 0.2]
    ended = run("train", *harder, "--loss", "cross_entropy", "--steps", 2, "--out", "t.json", "--quiet")
    assert ended.code == 0
    task = yaml.safe_load((tmp_path / "t.json").read_text())["task"]
    assert (task["dataset"], task["train_size"], task["label_noise"]) == ("digits", 200, 0.2)
    assert task["imbalance"] is task["target_noise"] is task["task_loss"] is None
