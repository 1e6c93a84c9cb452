"""The page of the paper's tables, its links, and what it says where nothing can be compared."""

import csv
import io
import re

import pytest

from ensembles.configurations import Architecture
from tests.history import History
from tests.unit.app.dashboard.conftest import Browser
from tests.unit.app.dashboard.test_pages import HOSTILE, text_of

#: Wrong of 50,000: views of D and E, dense and multi-crop, then over scales, over modes, and the ensemble.
WRONG = [12650, 12800, 13100, 12700, 12900, 13000, 12700, 12750, 13200, 12650, 12700, 12800]
WRONG += [12400, 12310, 12550, 12300, 12210, 12150, 11855]


@pytest.fixture
def imagenet(history: History) -> History:
    """50,000 images of 1,000 classes, and the released networks."""
    history.dataset("imagenet", images=50_000, classes=[f"class {i:04d}" for i in range(1000)], size=(500, 375))
    for name in ("D", "E"):
        history.checkpoint(f"vgg-{name}", Architecture(name), (256, 512))
    return history


@pytest.fixture
def fused(imagenet: History) -> str:
    return evaluated(imagenet, WRONG, checkpoints=["vgg-D", "vgg-E"], protocol="vgg-multi-scale-both")


def evaluated(history: History, wrong: list[int], **request: object) -> str:
    history.macs_per_second = 1e18
    key = history.submit(dataset="imagenet", **request)
    history.predict()
    history.finish(key, wrong)
    return key


def test_the_page_lays_the_rows_beside_the_printed_ones_and_marks_each_cell(browser: Browser, fused: str) -> None:
    html = browser.open(f"/evaluations/{fused}/paper")
    shown = text_of(html)
    for number in range(3, 8):
        assert f'id="table-{number}"' in html
    assert html.count('class="paper-ours"') == 2 + 2 + 6 + 1 + 3
    # Table 3 D is 12800 of 50,000, printed 25.6; table 4 D 12400, printed 24.8; E's 12550 is 0.3 points away.
    assert "D S [256;512], Q 384 yours: vgg-D, vgg-multi-scale-both 25.6 25.60 equal" in shown
    assert "24.8 24.80 equal 24.42–25.18" in shown
    assert "24.8 25.10 different" in shown
    assert "23.7 23.71 equal" in shown
    assert "24.4 24.30 plausible" in shown
    for word in ("equal", "plausible", "different"):
        assert f'<span class="verdict verdict-{word}">{word}</span>' in html
    assert "No row of this evaluation" not in shown
    assert "no public weights" in shown


def test_the_choices_that_could_explain_a_difference_stand_with_their_values(browser: Browser, fused: str) -> None:
    shown = text_of(browser.open(f"/evaluations/{fused}/paper")).split("What could explain a difference")[1]
    assert "preprocessing torchvision other BGR, 0 to 255" in shown
    assert "pool rounding floor other ceil, Caffe&#39;s rule" in shown
    assert "exclude nothing not said" in shown
    assert "images 50,000 as theirs" in shown


def test_tables_1_and_2_have_the_exact_parameters(browser: Browser, fused: str) -> None:
    shown = text_of(browser.open(f"/evaluations/{fused}/paper")).split("Tables 1 and 2")[1]
    assert "D 16 3-64 ×2 3-128 ×2 3-256 ×3 3-512 ×3 3-512 ×3 138 138,357,544 15.5 G" in shown
    assert "C 16 3-64 ×2 3-128 ×2 3-256 ×2, 1-256" in shown
    assert "A-LRN 11 3-64, LRN" in shown


def test_the_evaluations_page_leads_there_and_every_table_has_csv_and_json(browser: Browser, fused: str) -> None:
    assert f'href="/evaluations/{fused}/paper"' in browser.open(f"/evaluations/{fused}")
    html = browser.open(f"/evaluations/{fused}/paper")
    links = re.findall(r'href="(/api/v1/evaluations/[^"]+/paper[^"]*)"', html)
    assert len(links) == 2 * 6
    for link in links:
        assert browser.client.get(link.replace("&amp;", "&")).status_code == 200
    table = next(link for link in links if "table=6" in link and "csv" in link).replace("&amp;", "&")
    rows = list(csv.DictReader(io.StringIO(browser.open(table))))
    assert [row["paper_top1_val_percent"] for row in rows] == ["24.7", "24.0", "23.9", "23.7"]
    assert (rows[3]["top1_error"], rows[3]["top1_verdict"], rows[3]["n"]) == ("0.2371", "equal", "50000")
    assert rows[3]["networks"] == "D/[256;512]/256,384,512 + E/[256;512]/256,384,512"


def test_rows_of_a_further_evaluation_are_named_in_the_url(browser: Browser, imagenet: History, fused: str) -> None:
    single = evaluated(imagenet, [12700], checkpoints=["vgg-D"], protocol={"preset": "caffe-vgg", "scales": "single"})
    html = browser.open(f"/evaluations/{single}/paper?with={fused}")
    shown = text_of(html)
    assert "yours: vgg-D, caffe-vgg, scales single," in shown
    assert "yours: vgg-D, vgg-multi-scale-both," in shown
    assert f"with={fused}&amp;table=3" in html
    assert browser.open(f"/evaluations/{single}/paper?with=nothing", 404)


def test_a_sample_of_the_images_is_called_one(browser: Browser, imagenet: History) -> None:
    key = evaluated(imagenet, [52], checkpoints=["vgg-D"], protocol="vgg-single-scale", limit=200)
    shown = text_of(browser.open(f"/evaluations/{key}/paper"))
    assert "Measured on 200 of the paper's 50,000 images: the 95 % interval" in shown


def test_other_data_has_a_page_that_says_why_and_shows_the_tables(browser: Browser, ensemble: str) -> None:
    html = browser.open(f"/evaluations/{ensemble}/paper")
    shown = text_of(html)
    assert "No row of this evaluation stands beside a printed one." in shown
    assert "10 classes in place of ImageNet&#39;s 1,000; width 0.125 in place of 1; crop 32 px in place of 224" in shown
    assert "Yours without a printed counterpart" in shown
    assert "C S 256, Q 256; no public weights 28.1" in shown
    assert "verdict-plausible" not in html


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        ({"preset": "vgg-single-scale", "hflip": False}, "no horizontal flip"),
        ({"preset": "vgg-multi-scale-crops", "crop_grid": "ten"}, "crops ten; the paper has a 5 x 5 grid"),
        ({"scales": [256, 512]}, "no row of the paper has this S, these test scales"),
    ],
)
def test_a_protocol_that_is_not_the_papers_is_named(
    browser: Browser, imagenet: History, protocol: dict[str, object], reason: str
) -> None:
    wrong = [12700] * (1 if protocol.get("preset") == "vgg-single-scale" else 4 if "preset" in protocol else 3)
    key = evaluated(imagenet, wrong, checkpoints=["vgg-D"], protocol=protocol)
    shown = text_of(browser.open(f"/evaluations/{key}/paper"))
    assert "No row of this evaluation stands beside a printed one." in shown
    assert reason in shown


def test_a_weighted_fusion_is_not_the_papers(browser: Browser, imagenet: History) -> None:
    key = evaluated(
        imagenet,
        [12700, 12700, 11855],
        checkpoints=["vgg-D", "vgg-E"],
        protocol="vgg-single-scale",
        fusion={"weights": [0.7, 0.3]},
    )
    assert "members weighted unequally" in text_of(browser.open(f"/evaluations/{key}/paper"))


def test_a_checkpoint_without_a_training_scale_or_with_batch_norm_is_in_no_table(
    browser: Browser, imagenet: History
) -> None:
    imagenet.checkpoint("no-scale", Architecture("D"))
    imagenet.checkpoint("normed", Architecture("D", batch_norm=True), (256, 512))
    key = evaluated(imagenet, [12700] * 3, checkpoints=["no-scale", "normed"], protocol={"scales": [384]})
    shown = text_of(browser.open(f"/evaluations/{key}/paper"))
    assert "no-scale no training scale S is recorded with it" in shown
    assert "normed batch normalisation is not in the paper" in shown


def test_an_unfinished_evaluation_shows_the_tables_as_printed(browser: Browser, digits: History) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol="vgg-single-scale")
    shown = text_of(browser.open(f"/evaluations/{key}/paper"))
    assert "it has no scores; its status is queued" in shown
    assert "Look at the evaluation" in shown
    assert "GoogLeNet, 1 net" in shown


def test_an_unknown_evaluation_has_no_paper_page(browser: Browser) -> None:
    browser.open("/evaluations/nothing/paper", 404)


def test_hostile_names_stay_text_on_the_papers_page(browser: Browser, history: History) -> None:
    history.dataset(HOSTILE, images=100, classes=["a", "b"])
    history.checkpoint(HOSTILE, Architecture("A", width=0.125, classes=2, crop=32), (32, 32))
    key = history.submit(dataset=HOSTILE, checkpoints=[HOSTILE], protocol="vgg-single-scale")
    history.predict()
    history.finish(key, [30])
    html = browser.open(f"/evaluations/{key}/paper?with=%3Cimg%20src=x%3E", 404)
    html += browser.open(f"/evaluations/{key}/paper")
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") > 2
