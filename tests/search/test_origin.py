import importlib.metadata
import platform

import pytest
import torch

import evomal
from evomal.store.provenance import Origin, origin_now, versions

OLD = {"evomal": "0.0.1", "torch": "2.0"}


def test_versions_are_those_of_what_computes():
    known = versions()
    assert known["evomal"] == evomal.__version__
    assert known["python"] == platform.python_version()
    assert known["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert known["cma"] == importlib.metadata.version("cma")


@pytest.mark.parametrize(
    ("before", "earlier"),
    [
        ({}, ()),
        ({"versions": versions()}, ()),
        ({"versions": OLD}, (OLD,)),
        ({"versions": OLD, "earlier_versions": [OLD]}, (OLD,)),
        ({"versions": versions(), "earlier_versions": [OLD, versions()]}, (OLD,)),
        ({"versions": "odd", "earlier_versions": [3, "odd"]}, ()),
        ({"earlier_versions": 3}, ()),
    ],
)
def test_earlier_versions_are_each_kept_once(before, earlier):
    assert origin_now("evomal compare", before) == Origin("evomal compare", versions(), earlier)


def test_the_same_versions_have_changed_nothing():
    assert Origin(None, versions()).changes() == []
    assert Origin(None, {"torch": "2"}, ({"numpy": "1"},)).changes() == []
