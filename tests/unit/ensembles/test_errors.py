import inspect

import pytest

from ensembles import errors
from ensembles.errors import EnsemblesError, Problem, SpecError, UnknownNameError

LEAVES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, EnsemblesError) and value is not EnsemblesError
]


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.__name__)
def test_every_error_has_a_code_of_its_own(error):
    assert "code" in vars(error)
    assert error.code.replace("_", "").isalnum()
    assert error.code.islower()
    assert [other.__name__ for other in [EnsemblesError, *LEAVES] if other.code == error.code] == [error.__name__]


@pytest.mark.parametrize("error", [e for e in LEAVES if "__init__" in vars(e)], ids=lambda error: error.__name__)
def test_every_error_carries_its_data_and_says_it(error):
    samples = {"problems": [Problem("field", "a rule", 5)], "known": ["one", "other"]}
    parameters = inspect.signature(error.__init__).parameters
    data = {name: samples.get(name, f"the {name}") for name in list(parameters)[1:]}
    raised = error(**data)
    for name, value in data.items():
        carried = getattr(raised, name)
        assert carried == (tuple(value) if isinstance(value, list) else value)
    said = [value for value in data.values() if isinstance(value, str) and value[:12] in str(raised)]
    assert said or error is SpecError


def test_a_problem_reads_as_field_rule_and_value():
    assert str(Problem("scales", "each test scale once", [256, 256])) == "scales: each test scale once; got [256, 256]"


def test_a_spec_error_says_every_problem():
    problems = [Problem("scale", "at least 1", 0), Problem("mode", "one of dense, crops", "both")]
    error = SpecError(problems)
    assert error.problems == tuple(problems)
    assert str(error) == "scale: at least 1; got 0; mode: one of dense, crops; got 'both'"


def test_an_unknown_name_suggests_near_ones():
    error = UnknownNameError("protocol", "ten-crops", ["ten-crop", "center-crop", "torchvision"])
    assert error.near[0] == "ten-crop"
    assert "did you mean ten-crop" in str(error)


def test_an_unknown_name_with_nothing_near_lists_the_known():
    assert str(UnknownNameError("view", "zzz", ["a", "b"])) == "view: unknown name 'zzz'; known: a, b"
    assert str(UnknownNameError("view", "zzz", [])) == "view: unknown name 'zzz'; known: none"
