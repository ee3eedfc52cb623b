import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evomal.foundation.errors import RunFolderError
from evomal.foundation.plain_yaml import MAX_BYTES, read_yaml, yaml_text

INVALID = "it is not complete, valid YAML"
ALIAS = "it has an anchor or an alias"
NUMBER = "it has a number that no float holds, or of more than 320 characters"

# Half a pair of surrogates is text in Python, and in no file.
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
LIKE_OTHERS = st.sampled_from(
    ["=", "<<", "2020-01-01", "1:30", "1_000", "0x1", "1e3", ".inf", "~", "no", "- a", "&a", "*a", "\x85", "\u2028"]
)  # fmt: skip
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT | LIKE_OTHERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("yaml") / "config.yaml"


def _refused(path, reason, **options):
    with pytest.raises(RunFolderError) as caught:
        read_yaml(path, **options)
    assert str(caught.value) == f"'{path}' {reason}"


@settings(deadline=None, derandomize=True, max_examples=80)
@given(entries=st.dictionaries(TEXT, PLAIN, max_size=5))
def test_what_is_written_is_read_back(file, entries):
    file.write_text(yaml_text(entries), encoding="utf-8")
    assert json.dumps(read_yaml(file)) == json.dumps(entries)
    assert json.dumps(yaml.safe_load(yaml_text(entries))) == json.dumps(entries)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(data=st.binary(max_size=60) | st.text("ab:-?[]{}&*!|>'\"% \n#,<=01.e_", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_in_a_sentence(file, data):
    file.write_bytes(data)
    try:
        entries = read_yaml(file)
    except RunFolderError as error:
        refused = str(error)
    else:
        refused = ""
    assert "\n" not in refused
    assert refused or entries == yaml.safe_load(data)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "there are no named entries at its top"),
        ("- a\n", "there are no named entries at its top"),
        ("text", "there are no named entries at its top"),
        ("a: [", INVALID),
        ("a: 1\n--- \na: 2\n", INVALID),
        ("a: \x00", INVALID),
        ('a: "\\UFFFFFFFF"', INVALID),
        ("a: 0b_", INVALID),
        ("a: &b 1\n", ALIAS),
        ("a: *b\n", ALIAS),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", ALIAS),
        ("a: !!python/name:os.system\n", "it has a tag, 'tag:yaml.org,2002:python/name:os.system'"),
        ("a: !!binary aGk=\n", "it has a tag, 'tag:yaml.org,2002:binary'"),
        ("a: !!set {x}\n", "it has a tag, 'tag:yaml.org,2002:set'"),
        ("a: !mine x\n", "it has a tag, '!mine'"),
        ('a: !!int ""\n', "it has a tag, 'tag:yaml.org,2002:int'"),
        ("a: 2020-01-01\n", "it has a value of kind timestamp, '2020-01-01'"),
        ("a: {<<: {b: 1}}\n", "it has a value of kind merge, '<<'"),
        ("a: =\n", "it has a value of kind value, '='"),
        ("a: 1\n'a': 2\n", "an entry is there twice"),
        ("a: {b: 1, b: 1}\n", "an entry is there twice"),
        ("1: a\n", "it has a name that is no text"),
        ("yes: a\n", "it has a name that is no text"),
        ("? [a]\n: b\n", "it has a name that is no text"),
        ("a: .inf\n", NUMBER),
        ("a: .nan\n", NUMBER),
        ("a: 1.0e+400\n", NUMBER),
        ("a: 1" + "0" * 309, NUMBER),
        ("a: 0x" + "f" * 320, "it has a number of more than 320 characters"),
        ("a: 1" + ":59" * 200, "it has a number of more than 320 characters"),
        ("a: " + "[" * 20 + "]" * 20, "its entries nest more than 20 deep"),
        ("a: " + "[" * 200_000, "its entries nest more than 20 deep"),
        ("- " * 140_000, "its entries nest more than 20 deep"),
        ("? " * 140_000, "its entries nest more than 20 deep"),
        ("a: " + "x" * 100_001, "it has a text of more than 100,000 characters"),
        ("#" * (MAX_BYTES + 1), "it has more than 300,000 bytes"),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_what_is_not_plain_is_refused(file, text, what):
    file.write_text(text, encoding="utf-8")
    _refused(file, f"is damaged ({what}); give a folder as evomal wrote it")


def test_places_that_cannot_be_read(tmp_path):
    (tmp_path / "latin").write_bytes(b"a: \xe9\n")
    _refused(tmp_path / "latin", f"is damaged ({INVALID}); mend it", remedy="mend it")
    _refused(tmp_path / "none", "cannot be read (No such file or directory); mend it", remedy="mend it")
    _refused(tmp_path, "cannot be read (Is a directory); give a folder as evomal wrote it")
    _refused(Path("a\0b"), "cannot be read (embedded null byte); give a folder as evomal wrote it")
    _refused(
        Path("/dev/zero"), "is damaged (it has more than 10 bytes); give a folder as evomal wrote it", max_bytes=10
    )


def test_the_deepest_that_may_be(file):
    file.write_text("a: " + "[" * 19 + "]" * 19)
    assert list(read_yaml(file)) == ["a"]
