"""Badges: one number as a picture that stands alone, whatever state the evaluation is in and whatever it is called."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from flask.testing import FlaskClient
from PIL import ImageFont
from sqlalchemy import update

from app.db.models import Evaluation
from app.representations.badges import Badge, text_width, to_svg
from app.services import evaluations
from ensembles.configurations import Architecture
from tests.app_builders import Service, score
from tests.history import History

SVG = "{http://www.w3.org/2000/svg}"
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
CLASSES = tuple("0123456789")


@pytest.fixture
def history(service: Service) -> History:
    """Two checkpoints and a data set of 1,797 images."""
    history = History(service.runtime, macs_per_second=1e15)
    history.dataset("digits", images=1797, classes=CLASSES)
    for name in ("digits-a", "digits-d"):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
    return history


def picture(client: FlaskClient, reference: str, **query: str) -> ET.Element:
    response = client.get(f"/api/v1/badges/{reference}.svg", query_string=query)
    assert (response.status_code, response.mimetype) == (200, "image/svg+xml")
    return ET.fromstring(response.get_data(as_text=True))  # noqa: S314


def words(svg: ET.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


@pytest.fixture
def done(history: History) -> str:
    """An evaluation with 143 and 130 wrong images by its members and 104 by the ensemble."""
    key = history.submit(dataset="digits", checkpoints=["digits-a", "digits-d"], protocol={"scales": [32]})
    history.predict()
    history.finish(key, [143, 130, 104])
    return key


def test_a_badge_has_the_number_of_the_ensemble_or_of_a_member(client: FlaskClient, done: str) -> None:
    assert words(picture(client, done)) == ["top-1 error", f"{100 * 104 / 1797:.2f} %"]
    assert words(picture(client, f"{done}:digits-a")) == ["top-1 error", f"{100 * 143 / 1797:.2f} %"]


def test_its_title_says_everything(client: FlaskClient, done: str) -> None:
    svg = picture(client, done)
    title = svg.findtext(f"{SVG}title") or ""
    assert title.startswith("top-1 error of the ensemble on digits: 5.79 % (95 % interval 4.")
    assert title.endswith("1,797 images)")
    assert (svg.get("role"), svg.get("aria-label")) == ("img", title)


def test_what_has_no_number_says_its_state(client: FlaskClient, history: History, service: Service) -> None:
    key = history.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [32]})
    assert words(picture(client, key)) == words(picture(client, f"{key}:digits-a")) == ["top-1 error", "pending"]
    history.fail_slice("nonfinite_output", "a NaN")
    svg = picture(client, key)
    assert words(svg)[1] == "failed"
    assert "#b42318" in ET.tostring(svg, encoding="unicode")
    other = history.submit(dataset="digits", checkpoints=["digits-d"], protocol={"scales": [32]})
    evaluations.cancel(service.runtime.db, other)
    assert words(picture(client, other))[1] == "cancelled"


def test_every_metric_reads_as_people_write_it_and_one_without_a_value_is_not_defined(
    client: FlaskClient, service: Service
) -> None:
    """Three classes have no top-5 error."""
    service.add_dataset("few")
    service.add_checkpoint("one")
    key = service.submit("one", dataset="few")
    values = {"top1_error": 0.25, "ece": 0.0312, "nll": 0.5, "brier": 1.25}
    service.succeed(key, *(score(0, "one", metric, value) for metric, value in values.items()))
    for metric, said in (
        ("top1_error", ["top-1 error", "25.0 %"]),
        ("top5_error", ["top-5 error", "not defined"]),
        ("ece", ["calibration error", "3.1 %"]),
        ("nll", ["NLL", "0.5000"]),
        ("brier", ["Brier score", "1.2500"]),
    ):
        assert words(picture(client, key, metric=metric)) == said


def test_a_saved_ensemble_has_the_number_of_its_newest_success(client: FlaskClient, history: History) -> None:
    members = [{"checkpoint": name, "mode": "dense", "scales": [32]} for name in ("digits-a", "digits-d")]
    saved = client.post("/api/v1/ensembles", json={"name": "both: now", "members": members}).json["id"]
    assert words(picture(client, saved)) == ["top-1 error", "not evaluated"]
    first = history.submit(dataset="digits", ensemble="both: now")
    assert words(picture(client, "both: now"))[1] == "pending"
    history.predict()
    history.finish(first, [143, 130, 104])
    second = history.submit(dataset="digits", ensemble="both: now", force=True)
    for reference in (saved, "both: now"):
        svg = picture(client, reference)
        assert words(svg)[1] == f"{100 * 104 / 1797:.2f} %"
        assert (svg.findtext(f"{SVG}title") or "").startswith("top-1 error of the ensemble both: now on digits: 5.79 %")
    history.predict()
    history.finish(second, [143, 130, 90])
    assert words(picture(client, saved))[1] == f"{100 * 90 / 1797:.2f} %"


def test_a_number_that_was_chosen_on_the_same_images_says_so(client: FlaskClient, history: History, done: str) -> None:
    with history.runtime.db.write() as session:
        marked = {"id": "e", "name": "chosen", "chosen": None, "selection_biased": True}
        session.execute(update(Evaluation).where(Evaluation.id == done).values(ensemble=marked))
    svg = picture(client, done)
    assert words(svg)[1] == f"{100 * 104 / 1797:.2f} %, selected"
    assert (svg.findtext(f"{SVG}title") or "").endswith("selection-biased")
    assert words(picture(client, f"{done}:digits-a"))[1] == f"{100 * 143 / 1797:.2f} %"


def test_a_version_that_is_known_costs_nothing_and_an_old_one_is_shown_a_minute_at_most(
    client: FlaskClient, history: History
) -> None:
    key = history.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [32]})
    path = f"/api/v1/badges/{key}.svg"
    first = client.get(path)
    assert first.headers["Cache-Control"] == "private, max-age=60"
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    history.predict()
    history.finish(key, [104])
    assert client.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize("reference", ["none", "none:digits-a", "{}:none", "{}:"])
def test_what_does_not_exist_is_a_problem(client: FlaskClient, done: str, reference: str) -> None:
    response = client.get(f"/api/v1/badges/{reference.format(done)}.svg")
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")


def test_an_unknown_metric_is_named(client: FlaskClient, done: str) -> None:
    response = client.get(f"/api/v1/badges/{done}.svg?metric=accuracy")
    assert (response.status_code, response.json["errors"][0]["pointer"]) == (422, "/metric")


@pytest.mark.parametrize("name", ["</svg><script>", 'a" onload="x', "&amp;", "]]>", "x.svg", "ü漢字", "." * 200])
def test_whatever_a_checkpoint_is_called_the_picture_is_well_formed_and_nothing_runs(
    client: FlaskClient, service: Service, name: str
) -> None:
    service.add_dataset("digits")
    service.add_checkpoint(name)
    key = service.submit(name)
    svg = picture(client, key)
    assert name in (svg.findtext(f"{SVG}title") or "")
    assert {element.tag.removeprefix(SVG) for element in svg.iter()} == {
        "svg",
        "title",
        "clipPath",
        "rect",
        "g",
        "text",
    }
    assert not [attribute for element in svg.iter() for attribute in element.attrib if attribute.startswith("on")]
    if "/" not in name:
        assert words(picture(client, f"{key}:{name}"))[1] == "pending"


def test_long_words_are_cut_and_boxes_are_as_wide_as_their_words() -> None:
    svg = ET.fromstring(to_svg(Badge("i" * 90, "漢" * 3, "t", "result")))  # noqa: S314
    label, value = words(svg)
    assert label == "i" * 39 + "…"
    assert value == "漢" * 3
    boxes = [float(box.get("width", 0)) for box in svg.findall(f"{SVG}g/{SVG}rect")]
    lengths = [float(text.get("textLength", 0)) for text in svg.iter(f"{SVG}text")]
    assert [box - length for box, length in zip(boxes, lengths, strict=True)] == [12, 12]
    assert float(svg.get("width", 0)) == sum(boxes)


@pytest.mark.skipif(not FONT.exists(), reason=f"there is no {FONT} (Debian: apt install fonts-dejavu-core)")
def test_widths_are_those_of_the_font() -> None:
    font = ImageFont.truetype(str(FONT), 2048)
    for text in ("top-1 error", "7.25 %", "calibration error", "".join(map(chr, range(32, 127)))):
        measured = sum(font.getlength(character) for character in text) * 11 / 2048
        assert text_width(text) == pytest.approx(measured, abs=0.01 * len(text))
