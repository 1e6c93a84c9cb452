"""Pages of saved ensembles: what they are, what chose them, evaluated, renamed and forgotten by forms."""

from __future__ import annotations

import re
import shlex
from html import unescape
from typing import Any

import pytest

from app.db.queries import ensembles as queries
from app.db.queries import evaluations
from app.representations.ensembles import EnsembleDocument, EnsembleRequest
from app.services import ensembles
from tests.history import History
from tests.unit.app.dashboard.conftest import Browser


def save(history: History, name: str, members: list[dict[str, Any]] | None = None, **fields: Any) -> str:
    members = members or [
        {"checkpoint": "digits-d", "scales": [32, 40], "mode": "dense", "weight": 3.0},
        {"checkpoint": "digits-e", "mode": "crops"},
    ]
    request = EnsembleRequest.model_validate({"name": name, "members": members, **fields})
    return ensembles.create(history.runtime.db, request)


def stored(history: History, key: str) -> EnsembleDocument:
    with history.runtime.db.read() as session:
        return queries.get(session, key)


def text(html: str) -> str:
    """What is read of a page, in one line."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html.partition("<main")[2])))


def test_the_list_says_who_is_in_and_what_chose_it(browser: Browser, digits: History, ensemble: str) -> None:
    assert "No ensemble is saved yet" in browser.open("/ensembles")
    save(digits, "fixed", notes="as in the paper")
    save(digits, "looked at", chosen_on=ensemble, rule="geometric", temperature=0.9)
    seen = text(browser.open("/ensembles"))
    assert "fixed as in the paper digits-d 75.0 % digits-e 25.0 % mean beforehand" in seen
    assert "normalised geometric mean temperature 0.9 by hand on 1,797 of digits" in seen
    assert "looked at" not in text(browser.open("/ensembles?search=paper"))
    assert "No ensemble matches" in browser.open("/ensembles?search=nothing")
    assert 'aria-current="page">Ensembles' in browser.open("/ensembles")


def test_one_ensemble_shows_its_members_and_whether_images_chose_it(
    browser: Browser, digits: History, ensemble: str
) -> None:
    fixed = text(browser.open(f"/ensembles/{save(digits, 'fixed')}"))
    assert "Fixed beforehand." in fixed
    assert "digits-d vgg16 [32;48] 32, 40 dense dense 3 75.0 %" in fixed
    assert "It was not evaluated yet." in fixed
    chosen = browser.open(f"/ensembles/{save(digits, 'chosen', chosen_on=ensemble)}")
    assert "Chosen by hand on digits." in text(chosen)
    assert f'href="/evaluations/{ensemble}"' in chosen
    assert "digits: 1,797 images, which chose it" in text(chosen)
    assert "errors on digits are selection-biased" not in text(chosen).lower()
    browser.open("/ensembles/000000000000000000000000", 404)


def test_it_is_evaluated_by_its_form_and_lists_its_evaluations_alone(browser: Browser, digits: History) -> None:
    key, other = save(digits, "one"), save(digits, "other")
    page = f"/ensembles/{key}"
    sent = browser.post(page, f"{page}/evaluate", dataset="digits")
    assert sent.status_code == 303
    evaluation_id = sent.location.rpartition("/")[2]
    with digits.runtime.db.read() as session:
        found = evaluations.get(session, evaluation_id)
    assert found.ensemble is not None
    assert (found.ensemble.id, found.dataset) == (key, "digits")
    assert evaluation_id in browser.open(page)
    assert evaluation_id not in browser.open(f"/ensembles/{other}")


@pytest.mark.parametrize("dataset", ["", "nothing", "flowers"])
def test_a_data_set_that_does_not_fit_is_refused_beside_its_field(
    browser: Browser, digits: History, dataset: str
) -> None:
    digits.dataset("flowers", images=10, classes=["rose", "tulip"])
    page = f"/ensembles/{save(digits, 'one')}"
    assert "flowers" not in browser.open(page)
    refused = browser.post(page, f"{page}/evaluate", dataset=dataset)
    assert refused.status_code == 422
    assert 'id="problem-dataset"' in refused.get_data(as_text=True)


def test_the_commands_of_its_page_evaluate_it(browser: Browser, digits: History) -> None:
    html = browser.open(f"/ensembles/{save(digits, 'a & b')}?dataset=digits")
    found = re.search(r'<pre id="command-cli">(.*?)</pre>', html, re.DOTALL)
    assert found
    command = shlex.split(unescape(found[1]).replace("\\\n", " "))
    assert command == ["softvote", "evaluate", "--dataset", "digits", "--ensemble", "a & b", "--wait"]
    assert '"ensemble": "a &amp; b"' in html.replace("&#34;", '"')


def test_name_and_notes_are_changed_and_problems_stand_at_their_field(browser: Browser, digits: History) -> None:
    key = save(digits, "one")
    save(digits, "taken")
    page = f"/ensembles/{key}"
    assert browser.post(page, page, name="two", notes="better").status_code == 303
    assert (stored(digits, key).name, stored(digits, key).notes) == ("two", "better")
    for name in ("", "taken", "x" * 201):
        refused = browser.post(page, page, name=name, notes="kept <b>")
        html = refused.get_data(as_text=True)
        assert refused.status_code == 422
        assert 'id="problem-name"' in html
        assert "kept &lt;b&gt;" in html
    assert stored(digits, key).name == "two"


def test_what_is_forgotten_is_gone_and_its_evaluations_stay(browser: Browser, digits: History) -> None:
    key = save(digits, "one")
    evaluation_id = digits.submit(dataset="digits", ensemble="one")
    page = f"/ensembles/{key}"
    assert f'<a href="{page}">one</a>' in browser.open(f"/evaluations/{evaluation_id}")
    assert browser.post(page, f"{page}/delete").status_code == 303
    browser.open(page, 404)
    html = browser.open(f"/evaluations/{evaluation_id}")
    assert page not in html
    assert "The ensemble “one” (forgotten since)" in html
