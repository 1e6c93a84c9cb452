"""The compare page and the basket of the list, as HTML."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.history import History
from tests.unit.app.dashboard.conftest import Browser


@pytest.fixture
def sides(digits: History) -> tuple[str, str]:
    """A finished ensemble of d and e, and a finished evaluation of a alone under another protocol."""
    pair = digits.submit(dataset="digits", checkpoints=["digits-d", "digits-e"], protocol={"scales": [40]})
    digits.predict()
    digits.finish(pair, [152, 128, 104])
    alone = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [36], "hflip": False})
    digits.predict()
    digits.finish(alone, [190])
    return pair, alone


def text(html: str) -> str:
    """What is read of a page, in one line."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html.partition("<main")[2])))


def links(html: str) -> list[str]:
    return [unescape(address) for address in re.findall(r'href="([^"]+)"', html)]


def test_one_candidate_gets_its_verdict_in_words_at_first_sight(browser: Browser, sides: tuple[str, str]) -> None:
    pair, alone = sides
    seen = text(browser.open(f"/compare?base={pair}&candidate={alone}"))
    assert "digits-a against digits-d + digits-e" in seen
    assert re.search(
        r"digits-a : worse by 4\.8 points at n = 1,797 \(95 % interval \d\.\d to \d\.\d, p < 0\.001\)", seen
    )
    assert "The protocols differ. horizontal flip, test scales Q" in seen
    assert "Exact McNemar p < 0.001" in seen
    assert "+4.79" in seen


def test_each_of_the_four_cells_leads_to_its_images(browser: Browser, sides: tuple[str, str]) -> None:
    pair, alone = sides
    html = browser.open(f"/compare?base={pair}&candidate={alone}")
    found = {}
    for address in links(html):
        split = urlsplit(address)
        if split.path == f"/evaluations/{alone}/images":
            query = parse_qs(split.query)
            assert (query["base"], query["candidate"], query["metric"]) == ([pair], [alone], ["top1_error"])
            found[query["cell"][0]] = address
    assert set(found) == {"both_right", "only_base_wrong", "only_candidate_wrong", "both_wrong"}
    counts = [int(count.replace(",", "")) for count in re.findall(r'aria-label="([\d,]+) images? that', html)]
    assert sum(counts[-4:]) == 1797


def test_several_candidates_are_counted_by_verdict_and_ranked(browser: Browser, sides: tuple[str, str]) -> None:
    pair, alone = sides
    html = browser.open(f"/compare?base={pair}&candidate={alone}&candidate={pair}:digits-d&candidate={pair}:digits-e")
    seen = text(html)
    assert "3 candidates against digits-d + digits-e" in seen
    assert re.search(r"better 0 of 3 .* worse [123] of 3", seen)
    assert html.count('<table class="cells">') == 3
    assert "Holm" in seen
    assert re.findall(r'<td class="number wide nowrap">([^<]+)</td>', html)[0] == "1"


def test_the_configuration_shows_what_differs_and_folds_the_rest(browser: Browser, sides: tuple[str, str]) -> None:
    pair, _ = sides
    html = browser.open(f"/compare?base={pair}:digits-d&candidate={pair}:digits-e")
    configuration = html.partition('id="configuration-title"')[2]
    differing, _, folded = configuration.partition("<details")
    assert re.findall(r'<th scope="col">([^<]+)</th>', differing) == ["Side", "checkpoint", "sha256", "architecture"]
    assert "horizontal flip" not in differing
    assert "horizontal flip" in folded
    assert not folded.startswith(" open")


def test_another_metric_has_no_cells_and_says_how_it_is_tested(browser: Browser, sides: tuple[str, str]) -> None:
    pair, alone = sides
    html = browser.open(f"/compare?base={pair}&candidate={alone}&metric=nll")
    assert "2,000 resamples" in html
    assert 'class="cells"' not in html
    assert "nats" in text(html)


def test_the_first_of_what_was_ticked_becomes_the_base_and_the_address_says_so(
    browser: Browser, sides: tuple[str, str]
) -> None:
    pair, alone = sides
    for path in (
        f"/compare?candidate={pair}&candidate={alone}",
        f"/compare?status=&search=&candidate={pair}&candidate={alone}&candidate={pair}",
        f"/compare?base={pair}&candidate={pair}&candidate={alone}",
    ):
        response = browser.client.get(path)
        assert response.status_code == 302
        assert urlsplit(response.headers["Location"]).query == f"base={pair}&candidate={alone}"


def test_choosing_another_base_keeps_every_side(browser: Browser, sides: tuple[str, str]) -> None:
    pair, alone = sides
    html = browser.open(f"/compare?base={pair}&candidate={alone}")
    form = html.partition('<form id="sides"')[2].partition("</form>")[0]
    assert re.findall(r'<option value="([^"]+)"', form) == [pair, alone]
    sent = re.findall(r'type="hidden" name="candidate" value="([^"]+)"', form)
    # With one candidate there is nothing to untick, so the form itself carries both.
    query = "&".join([f"base={alone}", *(f"candidate={side}" for side in sent)])
    swapped = text(browser.client.get(f"/compare?metric=top1_error&{query}", follow_redirects=True).text)
    assert "digits-d + digits-e against digits-a" in swapped


def test_nothing_chosen_and_one_chosen_say_what_to_do(browser: Browser, sides: tuple[str, str]) -> None:
    pair, _ = sides
    assert "Nothing is chosen yet" in browser.open("/compare")
    html = browser.client.get(f"/compare?candidate={pair}:digits-d", follow_redirects=True).text
    assert "it takes two" in html
    assert f"/evaluations?status=succeeded&candidate={pair}" in links(html)


@pytest.mark.parametrize(
    ("changed", "status", "advice"),
    [
        ("0" * 24, 404, "an evaluation's id, or ID:NAME"),
        ("PAIR:digits-x", 404, "digits-d"),
        ("QUEUED", 409, "Wait until it has succeeded"),
        ("OLD", 409, "it is only fused"),
        ("ALONE:digits-a", 422, "each member or ensemble once"),
    ],
)
def test_a_side_that_cannot_be_compared_says_what_to_do_and_can_be_left_out(
    browser: Browser, digits: History, sides: tuple[str, str], changed: str, status: int, advice: str
) -> None:
    pair, alone = sides
    old = digits.submit(dataset="digits", checkpoints=["digits-d"], protocol={"scales": [44]})
    digits.predict()
    digits.finish(old, [150], answers={})
    queued = digits.submit(dataset="digits", checkpoints=["digits-d"], protocol={"scales": [48]})
    for name, key in (("PAIR", pair), ("ALONE", alone), ("OLD", old), ("QUEUED", queued)):
        changed = changed.replace(name, key)
    html = browser.open(f"/compare?base={pair}&candidate={alone}&candidate={changed}", status=status)
    assert advice in unescape(html)
    without = f"/compare?base={pair}&candidate={alone}"
    assert [address for address in links(html) if address.startswith("/compare")] == [without]
    browser.open(without)


def test_a_metric_that_does_not_exist_is_refused(browser: Browser, sides: tuple[str, str]) -> None:
    pair, alone = sides
    assert "one or more of top1_error" in browser.open(f"/compare?base={pair}&candidate={alone}&metric=f1", status=422)


def test_only_finished_evaluations_can_be_ticked_and_ticks_go_along(
    browser: Browser, digits: History, sides: tuple[str, str]
) -> None:
    pair, alone = sides
    digits.submit(dataset="digits", checkpoints=["digits-d"], protocol={"scales": [48]})
    html = browser.open(f"/evaluations?candidate={alone}&candidate={'f' * 24}")
    ticks = re.findall(
        r'<input type="checkbox" form="basket" name="candidate" value="(\w+)" data-basket-tick( checked)?', html
    )
    assert ticks == [(alone, " checked"), (pair, "")]
    assert f'type="hidden" form="basket" name="candidate" value="{"f" * 24}"' in html
    tabs = [address for address in links(html) if "status=failed" in address]
    assert parse_qs(urlsplit(tabs[0]).query)["candidate"] == [alone, "f" * 24]
    assert '<button class="button button-primary" form="basket" formaction="/compare">' in html
    polled = re.search(r'hx-get="([^"]+)"', html)
    assert polled
    assert "candidate" not in polled[1]  # the form says what is ticked now


def test_an_evaluation_leads_to_its_members_and_to_the_list(browser: Browser, sides: tuple[str, str]) -> None:
    pair, alone = sides
    members = [a for a in links(browser.open(f"/evaluations/{pair}")) if a.startswith("/compare")]
    assert parse_qs(urlsplit(members[0]).query) == {
        "base": [pair],
        "candidate": [f"{pair}:digits-d", f"{pair}:digits-e"],
    }
    assert "2 candidates against" in text(browser.open(members[0]))
    html = browser.open(f"/evaluations/{alone}")
    assert f"/evaluations?status=succeeded&candidate={alone}" in links(html)
    assert not any(address.startswith("/compare") for address in links(html))


def test_a_hundred_candidates_stay_readable(browser: Browser, sides: tuple[str, str], digits: History) -> None:
    pair, alone = sides
    others = []
    for number in range(20):
        key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [36]})
        digits.predict()
        digits.finish(key, [150 + number])
        others.append(key)
    query = "".join(f"&candidate={key}" for key in [alone, *others])
    html = browser.open(f"/compare?base={pair}{query}")
    shown, _, folded = html.partition("15 more candidates")
    assert (shown.count('<table class="cells">'), folded.count('<table class="cells">')) == (6, 15)
    assert len(html) < 200_000
