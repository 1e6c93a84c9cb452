"""Classes, confusion, calibration and images of an evaluation as pages, and the thumbnails behind them."""

from __future__ import annotations

import re
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree as ET

import pytest
from flask.testing import FlaskClient
from PIL import Image

from app.dashboard import answer_charts
from app.db.models import Dataset
from app.representations.answers import AnsweringDocument, CalibratedDocument, ReliabilityDocument
from app.runtime import Runtime
from ensembles.datasets import scan_image_folder
from tests.builders import encoded, oriented, photo, write_folder
from tests.history import History
from tests.unit.app.dashboard.conftest import Browser, vgg

PAGES = ("classes", "confusion", "calibration", "images")


@pytest.fixture
def key(digits: History) -> str:
    """A finished evaluation of two members."""
    key = digits.submit(dataset="digits", checkpoints=["digits-a", "digits-d"], protocol={"scales": [32]})
    digits.predict()
    digits.finish(key, [152, 128, 104])
    return key


def links(page: str, text: str = "") -> list[str]:
    """Addresses of the links whose content has `text`."""
    found = re.finditer(r'<a [^>]*?href="([^"]+)"[^>]*>(.*?)</a>', page, re.DOTALL)
    return [unescape(match[1]) for match in found if text in match[2]]


def test_the_pages_of_an_evaluation_lead_to_one_another(browser: Browser, key: str) -> None:
    for tab in ("", "/paper", *(f"/{name}" for name in PAGES)):
        found = links(browser.open(f"/evaluations/{key}{tab}"))
        assert {f"/evaluations/{key}", *(f"/evaluations/{key}/{name}" for name in (*PAGES, "paper"))} <= set(found)


def test_the_subject_goes_along_from_page_to_page(browser: Browser, key: str) -> None:
    page = browser.open(f"/evaluations/{key}/classes?subject=digits-d")
    assert f"/evaluations/{key}/confusion?subject=digits-d" in links(page, "Confusion")
    assert all("subject=digits-d" in link for link in links(page) if "/images?" in link)


def test_a_head_of_the_classes_sorts_and_sorts_the_other_way_when_clicked_again(browser: Browser, key: str) -> None:
    page = browser.open(f"/evaluations/{key}/classes")
    assert 'aria-sort="descending"' in page
    (by_error,) = links(page, "Error, %")
    rising = browser.open(by_error)
    assert 'aria-sort="ascending"' in rising
    names = [re.findall(r"show=all[^>]*>(\d)</a>", text) for text in (page, rising)]
    assert len(names[0]) == len(names[1]) == 10
    assert set(names[0]) == set(names[1])
    assert names[0] != names[1]


def test_a_thousand_classes_come_in_pages(browser: Browser, history: History) -> None:
    history.dataset("many", images=2000, classes=[f"<b>{i}" for i in range(1000)])
    history.checkpoint("one", vgg("A", 1000), (32, 32))
    key = history.submit(dataset="many", checkpoints=["one"], protocol={"scales": [32]})
    history.predict()
    history.finish(key, [300])
    first = browser.open(f"/evaluations/{key}/classes")
    (following,) = links(first, "Next page")
    assert "<b>" not in first
    second = browser.open(following)
    rows = [set(re.findall(r"label=(\d+)", page)) for page in (first, second)]
    assert [len(found) for found in rows] == [100, 100]
    assert not rows[0] & rows[1]
    matrix = browser.open(f"/evaluations/{key}/confusion")
    assert "50 of" in matrix
    assert "matrix-count" not in matrix


def test_a_count_leads_to_as_many_images(browser: Browser, key: str) -> None:
    page = browser.open(f"/evaluations/{key}/confusion")
    counts = re.findall(r'<a href="([^"]+)" aria-label="(\d+) images? of', page)
    assert counts
    for link, count in counts[:5]:
        noun = "image" if count == "1" else "images"
        assert f"{count} {noun}</h2>" in browser.open(unescape(link))
    agreement = browser.open(f"/evaluations/{key}")
    for shown in ("rescued", "broken", "disagree"):
        (link,) = [link for link in links(agreement) if f"show={shown}" in link]
        (text,) = re.findall(rf'show={shown}">([^<]+)</a>', agreement)
        assert f">{text}" in browser.open(link)


def test_images_are_paged_with_their_state_in_the_address(browser: Browser, key: str) -> None:
    first = browser.open(f"/evaluations/{key}/images?show=confident")
    assert "104 images, 1 to 24" in first
    (following,) = links(first, "Next page")
    assert "show=confident" in following
    second = browser.open(following)
    assert "104 images, 25 to 48" in second
    (back,) = links(second, "Previous page")
    assert "cursor" not in back
    last = browser.open(f"/evaluations/{key}/images?show=confident&cursor=96")
    assert "104 images, 97 to 104" in last
    assert not links(last, "Next page")


def test_a_cell_of_a_comparison_shows_both_sides_and_leads_to_the_other_cells(browser: Browser, key: str) -> None:
    query = f"base={key}:digits-a&candidate={key}&cell=only_base_wrong&metric=top1_error"
    page = browser.open(f"/evaluations/{key}/images?{query}")
    assert "base: digits-a" in page
    assert "candidate: ensemble" in page
    (other,) = links(page, "both wrong")
    assert "cell=both_wrong" in other
    assert "candidate=" in other
    browser.open(other)


def test_what_is_damaged_is_said_and_the_rest_is_shown(browser: Browser, key: str) -> None:
    """`History` stores no posteriors."""
    page = browser.open(f"/evaluations/{key}/images")
    assert "posteriors of digits-a" in page
    assert page.count('class="card"') == 24
    assert "Likeliest five" not in page


@pytest.mark.parametrize("name", PAGES)
def test_without_outcomes_a_page_says_that_only_fusing_runs_again(browser: Browser, digits: History, name: str) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a", "digits-d"], protocol={"scales": [36]})
    digits.predict()
    assert "The evaluation is fusing." in browser.open(f"/evaluations/{key}/{name}")
    digits.finish(key, [152, 128, 104], answers={})
    page = browser.open(f"/evaluations/{key}/{name}")
    assert "Submit it again" in page
    assert f"/evaluations/{key}/clone" in links(page)
    assert "How the members differ" not in browser.open(f"/evaluations/{key}")


@pytest.mark.parametrize(
    "query",
    ["classes?sort=name", "images?show=x", "images?label=x", "images?label=10", "images?cell=x", "images?cursor=x"],
)
def test_an_address_that_means_nothing_is_refused_as_a_page(browser: Browser, key: str, query: str) -> None:
    assert "<h1" in browser.open(f"/evaluations/{key}/{query}", 422)


def curve(*counts: int) -> CalibratedDocument:
    bins = [
        ReliabilityDocument(
            low=i / len(counts),
            high=(i + 1) / len(counts),
            n=n,
            confidence=(i + 0.5) / len(counts) if n else None,
            accuracy=0.5 if n else None,
            accuracy_low=0.3 if n else None,
            accuracy_high=0.7 if n else None,
        )
        for i, n in enumerate(counts)
    ]
    subject = AnsweringDocument(reference="e", evaluation="e", subject="checkpoint", name="<a & b>", dataset="d")
    shared = {"ece_width": 0.1, "ece_mass": 0.1, "brier": 0.2, "nll": 0.3, "width": bins, "mass": bins}
    return CalibratedDocument(subject=subject, n=sum(counts), accuracy=0.5, confidence=0.6, **shared)  # type: ignore[arg-type]


def test_the_reliability_curve_has_a_point_for_each_bin_with_images() -> None:
    item = curve(0, 5, 9, 1)
    svg = ET.fromstring(answer_charts.reliability(item, item.width))  # noqa: S314
    points = list(svg.iter("circle"))
    assert len(points) == len(list(svg.iter("rect"))) == 3
    middle = {float(point.attrib["cy"]) for point in points}
    assert len(middle) == 1
    assert "<a & b>" in svg.attrib["aria-label"]


@pytest.mark.parametrize("classes", [1, 3, 20, 21, 40, 41, 1000, 21_841])
def test_the_matrix_names_few_classes_and_numbers_many(classes: int) -> None:
    names = [f"a long name of class <{i}>" for i in range(classes)]
    svg = ET.fromstring(answer_charts.matrix("/x?a=b&c=d", names, {(0, 0): 7}, "told"))  # noqa: S314
    texts = [element.text for element in svg.iter("text")]
    assert ("7" in texts) == (classes <= 20)
    assert len(texts) <= 2 * 40 + 3
    assert any(text and text.endswith("…") for text in texts) == (classes <= 40)
    (image,) = svg.iter("image")
    assert image.attrib["href"] == "/x?a=b&c=d"


class TestThumbnails:
    FILES: ClassVar[dict[str, bytes]] = {
        "a/large.jpg": encoded(photo(900, 600)),
        "a/turned.jpg": oriented(photo(64, 32), 6),
        "b/small.png": encoded(photo(40, 30), "png"),
        "b/torn.jpg": encoded(photo(80, 80))[:700],
    }

    @pytest.fixture
    def folder(self, history: History) -> Path:
        folder = write_folder(history.runtime.settings.data_roots[0] / "pictures", self.FILES)
        index = scan_image_folder(folder)
        history.indexed_dataset("pictures", index)
        with history.runtime.db.write() as session:
            session.query(Dataset).filter_by(name="pictures").one().root = str(folder)
        return folder

    @staticmethod
    def addresses(client: FlaskClient) -> dict[str, str]:
        items = client.get("/api/v1/datasets/pictures/images").json["items"]
        return {item["id"]: f"/datasets/pictures/images/{item['index']}/thumbnail" for item in items}

    def test_they_are_small_copies_of_what_networks_see(self, browser: Browser, folder: Path) -> None:
        sizes = {}
        for name, address in self.addresses(browser.client).items():
            answer = browser.client.get(address)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            if name != "b/torn.jpg":
                assert answer.mimetype == "image/jpeg"
                assert "immutable" in answer.headers["Cache-Control"]
                with Image.open(BytesIO(answer.data)) as image:
                    sizes[name] = image.size
        assert sizes == {"a/large.jpg": (256, 171), "a/turned.jpg": (64, 32), "b/small.png": (40, 30)}

    def test_an_undecodable_or_changed_or_missing_file_has_a_placeholder_that_nobody_keeps(
        self, browser: Browser, folder: Path
    ) -> None:
        addresses = self.addresses(browser.client)
        (folder / "a/large.jpg").write_bytes(encoded(photo(900, 600, seed=1)))
        (folder / "a/turned.jpg").unlink()
        (folder / "b/small.png").unlink()
        (folder / "b/small.png").symlink_to("/etc/hostname")
        for name, text in {
            "b/torn.jpg": "unreadable",
            "a/large.jpg": "changed or gone",
            "a/turned.jpg": "changed or gone",
            "b/small.png": "changed or gone",
        }.items():
            answer = browser.client.get(addresses[name])
            assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml"), name
            assert text in answer.text
            assert answer.headers["Cache-Control"] == "no-store"
            assert "ETag" not in answer.headers

    def test_a_browser_that_has_one_is_told_so_without_reading_the_file(self, browser: Browser, folder: Path) -> None:
        address = self.addresses(browser.client)["a/large.jpg"]
        tag = browser.client.get(address).headers["ETag"]
        (folder / "a/large.jpg").unlink()
        assert browser.client.get(address, headers={"If-None-Match": tag}).status_code == 304

    def test_only_positions_of_ready_data_sets_have_one(
        self, browser: Browser, folder: Path, history: History, runtime: Runtime
    ) -> None:
        history.register_dataset("unread")
        for path, status in {
            "/datasets/pictures/images/4/thumbnail": 404,
            "/datasets/pictures/images/-1/thumbnail": 404,
            "/datasets/pictures/images/..%2f..%2fx/thumbnail": 404,
            "/datasets/none/images/0/thumbnail": 404,
            "/datasets/unread/images/0/thumbnail": 409,
        }.items():
            assert browser.client.get(path).status_code == status, path
