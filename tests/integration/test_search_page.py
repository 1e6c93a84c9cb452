"""The search page over posteriors that real workers made: what it says is what the service finds."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from werkzeug.test import TestResponse

from app.cli.main import main
from app.dashboard.formatting import interval, percent, points
from app.db.queries import ensembles as queries
from app.factory import create_app
from app.representations.ensembles import SearchRequest
from app.representations.searches import SearchDocument
from app.services.searching import contender_tables, searches
from tests.integration.harness import Deployment, deployment

IMAGES = 90
CHECKPOINTS = {"a": ("A", 1), "b": ("B", 2), "c": ("A", 3)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("searched")) as made:
        made.add_images(count=IMAGES)
        for name, (configuration, seed) in CHECKPOINTS.items():
            made.add_checkpoint(name, configuration=configuration, seed=seed)
        yield made


@pytest.fixture(scope="module")
def evaluation_id(made: Deployment) -> str:
    key = made.submit(list(CHECKPOINTS), fusion={"weights": [1.0, 2.0, 1.0]})
    assert made.run(key).status == "succeeded"
    return key


def page(made: Deployment, status: int = 200, **fields: str) -> str:
    client = create_app(made.runtime).test_client()
    response = client.get(f"/ensembles/search?{urlencode(fields)}", headers={"Accept": "text/html"})
    assert response.status_code == status, text(response.get_data(as_text=True))
    return response.get_data(as_text=True)


def send(made: Deployment, **fields: str) -> TestResponse:
    client = create_app(made.runtime).test_client()
    client.environ_base["HTTP_ACCEPT"] = "text/html"
    form = client.get(f"/ensembles/search?{urlencode({**fields, 'name': ''})}").get_data(as_text=True)
    token = re.search(r'name="csrf_token" value="([^"]+)"', form)
    assert token
    return client.post("/ensembles/search", data={"csrf_token": token[1], **fields})


def text(html: str) -> str:
    """What is read of a page, in one line."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html.partition("<main")[2])))


def run(made: Deployment, evaluation_id: str, **fields: Any) -> SearchDocument:
    return searches.run(made.runtime.db, made.runtime.artifacts, evaluation_id, SearchRequest(**fields))


def test_nothing_is_searched_before_it_is_asked(made: Deployment, evaluation_id: str) -> None:
    html = page(made, evaluation=evaluation_id)
    assert "Nothing is computed until you search" in text(html)
    assert 'id="search-results"' not in html
    assert "Save what was chosen" not in html


@pytest.mark.parametrize("guard", ["split", "crossfit", "none"])
def test_the_page_says_who_chose_and_who_reports_and_how_optimistic_choosing_was(
    made: Deployment, evaluation_id: str, guard: str
) -> None:
    found = run(made, evaluation_id, over="modes", guard=guard)
    html = page(made, evaluation=evaluation_id, over="modes", guard=guard, method="exhaustive")
    seen, best, n = text(html), found.best[0], found.n_report
    assert f"{percent(best.top1_error, n)} % 95 % interval {interval(best.low, best.high, n)}, on {n} images" in seen
    assert f"among {found.candidates_tried} candidates" in seen
    assert ("Top-1 error selection-biased" in seen) == found.selection_biased == (guard != "split")
    assert {"split": "the other 45 report", "crossfit": "All 90 images chose", "none": "The same 90 images chose"}[
        guard
    ] in seen
    assert (found.optimism is None) == ("Optimism gap" not in seen)
    if found.optimism is not None:
        assert f"Optimism gap {points(found.optimism, n)} points" in seen
    assert ("Choosing in this way" in seen) == (guard == "crossfit")
    assert f"{points(best.top1_error - found.fixed[0].top1_error, n)} points" in seen


def test_every_fusion_leads_into_the_builder_with_weights_that_give_its_error(
    made: Deployment, evaluation_id: str
) -> None:
    for over, method in (("checkpoints", "exhaustive"), ("views", "greedy")):
        found = run(made, evaluation_id, over=over, method=method, guard="none")
        html = page(made, evaluation=evaluation_id, over=over, method=method, guard="none")
        links = re.findall(r'href="(/ensembles/new\?[^"]+)"', html.partition('id="best-title"')[2])
        assert len(links) == len(found.best) + len(found.fixed)
        searchable = contender_tables.find(made.runtime.db, made.runtime.artifacts, evaluation_id, over)
        table = contender_tables.table(made.runtime.artifacts, searchable).units
        for link, fusion in zip(links, [*found.best, *found.fixed], strict=True):
            asked = parse_qs(urlsplit(unescape(link)).query)
            assert (asked["evaluation"], asked["over"], asked["rule"]) == ([evaluation_id], [over], ["mean"])
            weights = [int(weight) for weight in asked["w"]]
            assert max(weights) <= 100
            assert len(weights) == len(searchable.units)
            assert table.error_counts([weights], 1)[0] / IMAGES == fusion.top1_error


def test_the_front_stands_in_a_drawing_and_in_a_table(made: Deployment, evaluation_id: str) -> None:
    found = run(made, evaluation_id, over="views", method="exhaustive", within=0.05)
    html = page(made, evaluation=evaluation_id, over="views", method="exhaustive", within="5")
    drawing = html.partition('<svg class="cost-plot" viewBox')[2].partition("</svg>")[0]
    assert drawing.count('<g class="cost-front">') == len(found.pareto)
    assert drawing.count('<g class="cost-fixed">') == len(found.fixed)
    assert drawing.count("front-steps") == 1
    table = html.partition('aria-label="The front, cheapest first"')[2].partition("</table>")[0]
    assert table.count('class="fusion-cell"') == len(found.pareto)
    assert table.count("cheapest within 5") == 1
    rows = re.findall(r'<th scope="row" class="fusion-cell">.*?</tr>', table, re.DOTALL)
    cheapest = next(row for row in rows if "cheapest within 5" in row)
    assert percent(found.cheapest.top1_error, found.n_report) in text(f"<main>{cheapest}")


def test_what_happens_without_each_member_is_told(made: Deployment, evaluation_id: str) -> None:
    found = run(made, evaluation_id, method="weights", metric="nll")
    html = page(made, evaluation=evaluation_id, method="weights", metric="nll")
    rows = html.partition('aria-label="Without each member"')[2].partition("</table>")[0]
    table = text(f"<main>{rows}")
    assert found.leave_one_out
    for one in found.leave_one_out:
        error, change = percent(one.top1_error, found.n_report), points(one.difference, found.n_report)
        assert f"{one.without.checkpoint} {error} {change}" in table
    # Likeliest weights are no whole numbers of a hundred, and nobody is told that they are.
    assert "≈" in html


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"within": "-1"}, "within"),
        ({"within": "wide"}, "within"),
        ({"within": "nan"}, "within"),
        ({"metric": "nll"}, "metric"),
        ({"rule": "geometric"}, "over"),
        ({"guard": "hope"}, "guard"),
    ],
)
def test_what_cannot_be_searched_is_marked_at_its_field(
    made: Deployment, evaluation_id: str, fields: dict[str, str], problem: str
) -> None:
    html = page(made, 422, evaluation=evaluation_id, method="exhaustive", **fields)
    assert re.findall(r'id="problem-(\w+)"', html) == [problem]


def test_a_search_that_is_too_large_is_left_to_the_command_line(
    made: Deployment, evaluation_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "MAX_POSTERIORS", 10)
    html = page(made, 422, evaluation=evaluation_id, method="greedy", over="views", within="0.5")
    assert "Too large for a page." in text(html)
    assert "softvote ensemble search" in html


def test_what_was_chosen_is_saved_with_what_chose_it(made: Deployment, evaluation_id: str) -> None:
    fields = {"evaluation": evaluation_id, "method": "greedy", "over": "modes", "within": "0.3"}
    sent = send(made, **fields, name=" picked ", notes="by a page")
    assert sent.status_code == 303, sent.get_data(as_text=True)
    with made.runtime.db.read() as session:
        saved = queries.get(session, sent.location.rpartition("/")[2])
    assert (saved.name, saved.notes) == ("picked", "by a page")
    assert saved.chosen is not None
    assert (saved.chosen.evaluation, saved.chosen.method, saved.chosen.selection) == (evaluation_id, "greedy", "split")
    best = run(made, evaluation_id, method="greedy", over="modes").best[0]
    assert [(m.checkpoint, m.mode, m.weight) for m in saved.members] == [
        (m.checkpoint, m.mode, m.weight) for m in best.members
    ]
    for name in ("picked", ""):
        refused = send(made, **fields, name=name)
        assert refused.status_code == 422
        assert 'id="problem-name"' in refused.get_data(as_text=True)


def test_the_command_of_the_page_asks_the_same(
    made: Deployment, evaluation_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    html = page(made, evaluation=evaluation_id, method="greedy", over="views", within="0.5", guard="none")
    found = re.search(r'<pre id="command-cli">(.*?)</pre>', html, re.DOTALL)
    assert found
    command = shlex.split(unescape(found[1]).replace("\\\n", " "))
    home = {"SOFTVOTE_HOME": str(made.home), "SOFTVOTE_URL": ""}
    result = CliRunner().invoke(main, [*command[1:], "--json"], env={**made.environment, **home})
    assert result.exit_code == 0, result.output
    asked = SearchDocument.model_validate_json(result.stdout)
    assert asked == run(made, evaluation_id, method="greedy", over="views", within=0.005, guard="none")


def test_an_unknown_evaluation_has_no_search_and_none_leads_to_the_list(made: Deployment) -> None:
    page(made, 404, evaluation="0123456789abcdef01234567")
    response = create_app(made.runtime).test_client().get("/ensembles/search")
    assert (response.status_code, response.location) == (303, "/evaluations?status=succeeded")
