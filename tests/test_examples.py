"""The examples in docstrings hold."""

import doctest
import pkgutil
from importlib import import_module

import numpy as np
import pytest
import torch

import airscene

MODULES = [
    module.name
    for module in pkgutil.walk_packages(airscene.__path__, "airscene.")
    if not module.name.endswith("__main__")
]
GLOBALS = {"torch": torch, "np": np}


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name):
    module = import_module(name)
    found = doctest.testmod(module, extraglobs=GLOBALS, optionflags=doctest.ELLIPSIS)
    assert found.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    tests = [test for name in MODULES for test in finder.find(import_module(name))]
    assert sum(len(test.examples) for test in tests) >= 10
