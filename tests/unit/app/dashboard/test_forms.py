from werkzeug.datastructures import MultiDict

from app.dashboard.forms import CheckpointForm, DatasetForm, attempt
from app.errors import InvalidRequestError, NameTakenError, PathForbiddenError
from ensembles.errors import Problem


def checkpoint_form(**fields: str) -> CheckpointForm:
    return CheckpointForm(MultiDict({"path": "vgg16.pth", "name": "vgg16", **fields}))


def test_a_filled_form_is_a_request_and_blank_fields_are_left_to_the_file() -> None:
    request = checkpoint_form(tags=" a, ,b ", training_scale=" 256-512 ", notes="by hand").request()
    assert request is not None
    assert request.tags == ["a", "b"]
    assert request.training_scale == "256-512"
    assert request.preprocessing is None
    blank = checkpoint_form(training_scale=" ").request()
    assert blank is not None
    assert blank.training_scale is None


def test_every_missing_field_is_named_at_once() -> None:
    form = DatasetForm(MultiDict({"path": "  "}))
    assert form.request() is None
    assert [(p.field, p.label) for p in form.problems] == [("path", "Folder or manifest"), ("name", "Name")]


def test_what_pydantic_refuses_stands_beside_its_field() -> None:
    form = checkpoint_form(name="tab\tin it", tags=f"ok, {'x' * 201}")
    assert form.request() is None
    assert [p.field for p in form.problems] == ["name", "tags"]


def test_a_service_refusal_is_told_without_repeating_the_field() -> None:
    form = checkpoint_form()

    def taken() -> str:
        raise NameTakenError("checkpoint", "vgg16")

    assert attempt(form, taken) is None
    (problem,) = form.problems_at("name")
    assert problem.text == "a checkpoint named 'vgg16' exists; names are unique"


def test_a_forbidden_path_stands_beside_the_path() -> None:
    form = checkpoint_form()

    def forbidden() -> str:
        raise PathForbiddenError("path", "/etc/passwd", "SOFTVOTE_CHECKPOINT_ROOTS")

    attempt(form, forbidden)
    (problem,) = form.problems_at("path")
    assert "SOFTVOTE_CHECKPOINT_ROOTS" in problem.text
    assert not problem.text.startswith("path")


def test_problems_of_fields_within_a_field_stand_beside_it_and_unknown_ones_beside_the_first() -> None:
    form = checkpoint_form()

    def invalid() -> str:
        raise InvalidRequestError([Problem("elsewhere", "a rule", 1), Problem("preprocessing.mean.0", "a number", "x")])

    attempt(form, invalid)
    assert [(p.field, p.text) for p in form.problems] == [
        ("path", "a rule; got 1"),
        ("preprocessing", "a number; got 'x'"),
    ]


def test_the_same_problem_is_told_once() -> None:
    form = checkpoint_form()
    form.add("name", "a name is needed")
    form.add("name", "a name is needed")
    assert len(form.problems) == 1
