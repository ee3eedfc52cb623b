import subprocess
import sys

import pytest
import yaml
from typer.main import get_command

from evomal.cli.app import app
from evomal.cli.options import repeated
from evomal.config import PRESETS, LearnSettings, TrainSettings, flat_fields


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
        "from evomal.runs.folder import RunFolder\n"
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
    assert settings["base"] == {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0, **quick}
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
