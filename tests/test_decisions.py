"""A number in a comment stands for a decision that is written down."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\bD[1-9][0-9]?\b")


def test_every_number_is_defined_once():
    table = (ROOT / "docs" / "decisions.md").read_text()
    defined = re.findall(r'^\| <a id="(d[0-9]+)"></a>(D[0-9]+) \| [^|]+ \| .{20,} \|$', table, re.M)
    assert [number for _, number in defined] == [f"D{n}" for n in range(1, 15)]
    assert all(anchor == number.lower() for anchor, number in defined)
    paths = [path for folder in ("src", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")]
    named = {number for path in paths for number in NUMBER.findall(path.read_text())}
    assert {"D1", "D3", "D9"} <= named <= {number for _, number in defined}
