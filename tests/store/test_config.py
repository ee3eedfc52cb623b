import pytest
import yaml

from evomal.config import given, learn_settings
from evomal.foundation.errors import RunFolderError
from evomal.store.config import CONFIG, MAX_BYTES, read_config, settings_entries, stored_settings

GOOD = {"format": "evomal-run", "version": 1, "settings": {"seed": 3}, "note": "φ", "later": [1, None]}


def _refusal(folder):
    with pytest.raises(RunFolderError) as caught:
        read_config(folder)
    return str(caught.value)


def _write(folder, config):
    (folder / CONFIG).write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")


def test_plain_values_come_back(tmp_path):
    _write(tmp_path, GOOD)
    assert read_config(tmp_path) == GOOD


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_without_a_run(tmp_path, make):
    make(tmp_path / CONFIG)
    assert _refusal(tmp_path) == f"'{tmp_path}' holds no run (config.yaml is missing); give the folder of a run"


def test_no_folder_at_all(tmp_path):
    path = tmp_path / "a"
    assert _refusal(path) == f"'{path}' holds no run (config.yaml is missing); give the folder of a run"


@pytest.mark.parametrize("change", [{"format": None}, {"format": "evomal-comparison"}, {"format": 1}, {"format": []}])
def test_what_is_no_run_of_this_format(tmp_path, change):
    message = (
        f"'{tmp_path / CONFIG}' is not of format evomal-run: it is no run, or one of an evomal that could not resume; "
        "start anew with `force=True`"
    )
    _write(tmp_path, GOOD | change)
    assert _refusal(tmp_path) == message
    _write(tmp_path, {name: value for name, value in GOOD.items() if name != "format"})
    assert _refusal(tmp_path) == message


@pytest.mark.parametrize("version", [2, 10**300])
def test_what_comes_from_the_future(tmp_path, version):
    _write(tmp_path, GOOD | {"version": version})
    assert _refusal(tmp_path) == (
        f"'{tmp_path}' comes from the future (version {version}; this evomal reads 1); update evomal"
    )


@pytest.mark.parametrize(
    "change",
    [
        *({"version": version} for version in (0, -1, True, "1", 1.5, None, [1])),
        *({"settings": settings} for settings in (None, [], "seed: 3", 3)),
    ],
)
def test_a_damaged_one(tmp_path, change):
    _write(tmp_path, GOOD | change)
    assert (
        _refusal(tmp_path) == f"'{tmp_path / CONFIG}' is damaged; start anew with `force=True`, or give another `out`"
    )


@pytest.mark.parametrize("missing", ["version", "settings"])
def test_one_that_lacks_something(tmp_path, missing):
    _write(tmp_path, {name: value for name, value in GOOD.items() if name != missing})
    assert (
        _refusal(tmp_path) == f"'{tmp_path / CONFIG}' is damaged; start anew with `force=True`, or give another `out`"
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"format: [evomal-run", "it is not complete, valid YAML"),
        (b"\xff\xfe", "it is not complete, valid YAML"),
        (b"", "there are no named entries at its top"),
        (b"- evomal-run", "there are no named entries at its top"),
        (
            b"format: !!python/object/apply:os.system [touch ran]",
            "it has a tag, 'tag:yaml.org,2002:python/object/apply:",
        ),
        (b"a: &x [1]\nb: *x", "it has an anchor or an alias"),
        (b"format: evomal-run\nformat: evomal-run", "an entry is there twice"),
        (b"#" * (MAX_BYTES + 1), "it has more than 1,000,000 bytes"),
    ],
)
def test_what_is_no_plain_yaml_is_data_and_never_code(tmp_path, monkeypatch, data, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / CONFIG).write_bytes(data)
    message = _refusal(tmp_path)
    assert message.startswith(f"'{tmp_path / CONFIG}' is damaged ({what}")
    assert message.endswith("); give a folder as evomal wrote it")
    assert [entry.name for entry in tmp_path.iterdir()] == [CONFIG]


def test_settings_come_back_with_what_somebody_gave(tmp_path):
    settings = learn_settings("practice", momentum=0.9, seed=3)
    _write(tmp_path, GOOD | settings_entries(settings))
    config = read_config(tmp_path)
    again = stored_settings(config, tmp_path)
    assert (again, given(again)) == (settings, {"momentum", "seed"})
    older = stored_settings({"settings": config["settings"]}, tmp_path)
    assert (older, given(older)) == (settings, frozenset())


@pytest.mark.parametrize("names", [3, "lr", [3], [["lr"]], None, {"lr": 1}])
def test_odd_names_of_what_was_given_are_damage(tmp_path, names):
    config = settings_entries(learn_settings()) | {"given": names}
    with pytest.raises(RunFolderError) as caught:
        stored_settings(config, tmp_path)
    assert str(caught.value) == (
        f"'{tmp_path / CONFIG}' is damaged (its 'given' is {names!r}); start anew with `force=True`"
    )
