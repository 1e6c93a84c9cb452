"""The pages of gates and baselines, as HTML."""

from __future__ import annotations

import re
import shlex
import tomllib
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.db.queries import gates as queries
from app.representations.gates import BaselineDocument, GateDocument, GateRequest
from app.services.comparing import gates
from tests.history import History
from tests.unit.app.dashboard.conftest import Browser, vgg


@pytest.fixture
def runs(digits: History) -> dict[str, str]:
    """Finished evaluations of single checkpoints with their numbers of wrong images, and a pair."""
    made = {}
    for name, wrong in (("near", 122), ("worse", 210)):
        digits.checkpoint(name, vgg("B"), (32, 32))
        made[name] = digits.submit(dataset="digits", checkpoints=[name], protocol={"scales": [40]})
        digits.predict()
        digits.finish(made[name], [wrong])
    made["base"] = digits.submit(dataset="digits", checkpoints=["digits-d", "digits-e"], protocol={"scales": [40]})
    digits.predict()
    digits.finish(made["base"], [140, 131, 120])
    return made


def text(html: str) -> str:
    """What is read of a page, in one line."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html.partition("<main")[2])))


def block(html: str, name: str) -> str:
    """What a block of code on the page says."""
    found = re.search(rf'<pre id="{name}">(.*?)</pre>', html, re.DOTALL)
    assert found
    return unescape(found[1])


def judge(history: History, **request: object) -> GateDocument:
    key = gates.judge(history.runtime.db, history.runtime.artifacts, GateRequest.model_validate(request))
    with history.runtime.db.read() as session:
        return queries.get(session, key)


def baselines(history: History) -> list[BaselineDocument]:
    with history.runtime.db.read() as session:
        return queries.baselines(session)


@pytest.mark.parametrize(
    ("candidate", "margin", "verdict"),
    [("worse", 0.005, "fail"), ("near", 0.03, "pass"), ("near", 0.0001, "inconclusive")],
)
def test_a_verdict_is_said_in_words_before_any_number(
    browser: Browser, digits: History, runs: dict[str, str], candidate: str, margin: float, verdict: str
) -> None:
    gate = judge(digits, baseline=runs["base"], candidate=runs[candidate], margin=margin)
    assert gate.verdict == verdict
    html = browser.open(f"/gates/{gate.id}")
    seen = text(html)
    assert f"{candidate} against digits-d + digits-e" in seen
    assert seen.index(verdict.capitalize()) < seen.index(gate.reason[1:]) < seen.index("Difference")
    assert ("What would settle it" in seen) == (verdict == "inconclusive")
    assert ("Promote candidate" in seen) == (verdict == "pass")
    assert html.count('role="img"') == 2
    assert f'gate-plot gate-{verdict}"' in html


def test_an_undecided_verdict_says_how_many_images_and_which_margin_would_settle_it(
    browser: Browser, digits: History, runs: dict[str, str]
) -> None:
    gate = judge(digits, baseline=runs["base"], candidate=runs["near"], margin=0.0001)
    seen = text(browser.open(f"/gates/{gate.id}"))
    assert gate.images_to_settle
    assert f"About {gate.images_to_settle:,} images , for 1,797 now" in seen
    assert f"of more than +{100 * gate.high:.2f} points on these images" in seen


def test_discordant_counts_lead_to_their_images_on_both_sides(
    browser: Browser, digits: History, runs: dict[str, str]
) -> None:
    gates.promote(digits.runtime.db, "production", f"{runs['base']}:digits-d")
    gate = judge(digits, baseline="production", candidate=runs["worse"])
    html = browser.open(f"/gates/{gate.id}")
    assert "production stood for it then" in text(html)
    links = re.findall(r'<a href="(/evaluations/[^"]+/images[^"]+)" aria-label="([^"]+)">', html)
    expected = {
        "baseline": ("only_base_wrong", gate.only_base_wrong),
        "candidate": ("only_candidate_wrong", gate.only_candidate_wrong),
    }
    assert len(links) == len(expected)
    for (address, label), (side, (cell, count)) in zip(links, expected.items(), strict=True):
        assert label == f"{count} images that only the {side} gets wrong"
        split = urlsplit(unescape(address))
        assert split.path == f"/evaluations/{runs['worse']}/images"
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        sides = {"base": f"{runs['base']}:digits-d", "candidate": runs["worse"]}
        assert query == {**sides, "cell": cell, "metric": "top1_error"}
        assert f"{count} images" in text(browser.open(unescape(address)))


def test_nats_have_no_images_to_count(browser: Browser, digits: History, runs: dict[str, str]) -> None:
    gate = judge(digits, baseline=runs["base"], candidate=runs["worse"], metric="nll", margin=0.01)
    seen = text(browser.open(f"/gates/{gate.id}"))
    assert "nats" in seen
    assert "paired bootstrap" in seen
    assert "Wrong alone" not in seen


def test_what_a_page_says_to_ask_from_ci_asks_the_same(browser: Browser, digits: History, runs: dict[str, str]) -> None:
    gates.promote(digits.runtime.db, 'in "use" now', runs["base"])
    asked = judge(
        digits, baseline='in "use" now', candidate=runs["worse"], margin=0.07, alpha=0.1, classes=["3", "8", "0"]
    )
    html = browser.open(f"/gates/{asked.id}")
    command = shlex.split(block(html, "command-cli").replace("\\\n", " "))
    home = {"SOFTVOTE_HOME": str(digits.runtime.settings.home), "SOFTVOTE_URL": ""}
    result = CliRunner().invoke(main, [*command[1:], "--json"], env=home)
    assert result.exit_code == {"pass": 0, "fail": 1, "inconclusive": 3}[asked.verdict], result.output
    own = {"id", "created_at", "links"}
    assert GateDocument.model_validate_json(result.stdout).model_dump(exclude=own) == asked.model_dump(exclude=own)
    (policy,) = tomllib.loads(block(html, "command-policy"))["gates"]
    assert policy == {
        "baseline": 'in "use" now',
        "metric": "top1",
        "margin": 7,
        "alpha": 0.1,
        "classes": ["3", "8", "0"],
    }
    assert "/api/v1/gates" in block(html, "command-curl")


def test_the_list_names_both_sides_and_filters(browser: Browser, digits: History, runs: dict[str, str]) -> None:
    assert "No verdict yet" in browser.open("/gates")
    gates.promote(digits.runtime.db, "production", runs["base"], "since spring")
    failed = judge(digits, baseline="production", candidate=runs["worse"])
    passed = judge(digits, baseline="production", candidate=runs["near"], margin=0.03)
    seen = text(browser.open("/gates"))
    assert "production since spring digits-d + digits-e on digits" in seen
    assert seen.index(": near against production") < seen.index(": worse against production")
    only_failed = browser.open("/gates?verdict=fail")
    assert f"/gates/{failed.id}" in only_failed
    assert f"/gates/{passed.id}" not in only_failed
    assert f"/gates/{passed.id}" not in browser.open(f"/gates?candidate={runs['worse']}")
    assert "No verdict matches" in browser.open("/gates?verdict=inconclusive")
    browser.open("/gates/000000000000000000000000", 404)


def test_an_evaluation_shows_the_verdicts_on_it_and_leads_to_the_forms(
    browser: Browser, digits: History, runs: dict[str, str]
) -> None:
    gate = judge(digits, baseline=runs["base"], candidate=runs["worse"])
    html = browser.open(f"/evaluations/{runs['worse']}")
    assert f"/gates/{gate.id}" in html
    assert f"/gates/new?candidate={runs['worse']}" in html
    assert f"/baselines/new?reference={runs['worse']}" in html
    assert f"/gates/{gate.id}" not in browser.open(f"/evaluations/{runs['base']}")


def test_judging_by_the_form_keeps_the_verdict(browser: Browser, digits: History, runs: dict[str, str]) -> None:
    response = browser.post(
        "/gates/new",
        "/gates/new",
        candidate=runs["worse"],
        baseline=runs["base"],
        metric="top1",
        margin="2.5",
        alpha="10",
        classes="3\r\n 8 \r\n",
    )
    assert response.status_code == 303
    with digits.runtime.db.read() as session:
        gate = queries.get(session, response.location.rpartition("/")[2])
    assert (gate.margin, gate.alpha, gate.classes) == (0.025, 0.1, ["3", "8"])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"candidate": ""}, "candidate"),
        ({"candidate": "{worse}:nobody"}, "candidate"),
        ({"candidate": "{base}"}, "candidate"),
        ({"candidate": "{queued}"}, "candidate"),
        ({"baseline": "nothing"}, "baseline"),
        ({"margin": "100"}, "margin"),
        ({"margin": "-1"}, "margin"),
        ({"margin": "wide"}, "margin"),
        ({"margin": "nan"}, "margin"),
        ({"alpha": "50"}, "alpha"),
        ({"metric": "accuracy"}, "metric"),
        ({"classes": "zebra"}, "classes"),
    ],
)
def test_what_cannot_be_judged_is_marked_at_its_field_and_what_was_typed_is_kept(
    browser: Browser, digits: History, runs: dict[str, str], fields: dict[str, str], problem: str
) -> None:
    queued = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [40]})
    sent = {"candidate": runs["worse"], "baseline": runs["base"], "metric": "top1", "margin": "1", "alpha": "5"}
    sent |= {name: value.format(**runs, queued=queued) for name, value in fields.items()}
    response = browser.post("/gates/new", "/gates/new", **sent)
    html = response.get_data(as_text=True)
    assert response.status_code == 422, html
    assert re.findall(r'id="problem-(\w+)"', html) == [problem]
    assert f'value="{unescape(sent["baseline"])}"' in html
    with digits.runtime.db.read() as session:
        assert queries.list_page(session, cursor=None, limit=1).items == []


def test_a_baseline_is_promoted_moved_and_forgotten_by_forms(
    browser: Browser, digits: History, runs: dict[str, str]
) -> None:
    form = f"/baselines/new?reference={runs['base']}"
    assert f'value="{runs["base"]}"' in browser.open(form)
    for reference in (runs["base"], f"{runs['base']}:digits-e"):
        response = browser.post(form, "/baselines/new", name="a & b", reference=reference, note="v1")
        assert response.status_code == 303
        assert [(one.name, one.reference) for one in baselines(digits)] == [("a & b", reference)]
    assert "a &amp; b is" in browser.open("/gates")
    for fields in ({"name": ""}, {"name": "a/b"}, {"reference": "nothing"}, {"name": "x" * 201}):
        refused = browser.post(form, "/baselines/new", **{"name": "n", "reference": runs["base"], **fields})
        assert refused.status_code == 422
        assert f'id="problem-{next(iter(fields))}"' in refused.get_data(as_text=True)
    assert browser.post("/gates", "/baselines/forget", name="a & b").status_code == 303
    assert baselines(digits) == []


def test_a_verdict_from_before_candidates_were_resolved_can_be_read(
    browser: Browser, digits: History, runs: dict[str, str]
) -> None:
    from sqlalchemy import select

    from app.db.models import Gate

    gate = judge(digits, baseline=runs["base"], candidate=runs["worse"])
    with digits.runtime.db.write() as session:
        row = session.scalars(select(Gate)).one()
        row.result = {name: value for name, value in row.result.items() if name != "candidate_reference"}
    assert "worse against" in text(browser.open(f"/gates/{gate.id}"))
