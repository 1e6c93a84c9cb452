import re
from urllib.parse import parse_qs, urlsplit

from app.db.queries import checkpoints, evaluations
from app.services import workers
from app.services.leasing import leases
from app.services.workers import WorkerIdentity
from tests.history import History
from tests.unit.app.dashboard.conftest import Browser, vgg


def status_of(history: History, evaluation_id: str) -> str:
    with history.runtime.db.read() as session:
        return evaluations.get(session, evaluation_id).status


def count_of(history: History) -> int:
    with history.runtime.db.read() as session:
        return len(evaluations.list_page(session, cursor=None, limit=200).items)


def test_launching_starts_an_evaluation_and_shows_it(browser: Browser, digits: History) -> None:
    response = browser.post(
        "/evaluations/new",
        "/evaluations/new",
        dataset="digits",
        checkpoint=["digits-d", "digits-e"],
        protocol="custom",
        **{"protocol.scales": "list", "protocol.scale_list": "32 48", "weight.digits-e": "2"},
        limit="100",
        priority="7",
        unreadable="skip",
    )
    assert response.status_code == 303
    key = response.location.rpartition("/")[2]
    with digits.runtime.db.read() as session:
        document = evaluations.get(session, key)
    assert [(m.checkpoint, m.weight, m.scales) for m in document.checkpoints] == [
        ("digits-d", 1.0, [32, 48]),
        ("digits-e", 2.0, [32, 48]),
    ]
    assert (document.images, document.priority, document.unreadable) == (100, 7, "skip")


def test_every_problem_is_shown_beside_its_field_and_the_input_is_kept(browser: Browser, digits: History) -> None:
    digits.checkpoint("flowers", vgg("B", 102), None)
    response = browser.post(
        "/evaluations/new",
        "/evaluations/new",
        dataset="digits",
        checkpoint=["digits-a", "flowers"],
        protocol="vgg-multi-scale-dense",
        limit="17",
        priority="99",
        **{"weight.digits-a": "3"},
    )
    html = response.get_data(as_text=True)
    assert response.status_code == 422
    assert count_of(digits) == 0
    assert 'id="problem-checkpoints.1"' in html
    assert 'id="problem-protocol"' in html
    assert 'id="problem-priority"' in html
    assert "a checkpoint with the 10 classes of data set" in html
    assert "since no training scale is recorded for checkpoint" in html
    assert re.search(r'name="limit" value="17"', html)
    assert re.search(r'name="weight.digits-a" value="3"', html)
    assert html.count(" checked") == 3
    assert 'href="#field-checkpoints.1"' in html


def test_a_double_click_starts_one_evaluation(browser: Browser, digits: History) -> None:
    html = browser.open("/evaluations/new")
    fields = {
        name: re.search(rf'name="{name}" value="([^"]+)"', html)[1]  # type: ignore[index]
        for name in ("csrf_token", "submission")
    }
    body = {**fields, "dataset": "digits", "checkpoint": ["digits-a"], "protocol": "center-crop"}
    first, second = (browser.client.post("/evaluations/new", data=body) for _ in range(2))
    assert first.location == second.location
    browser.client.post("/evaluations/new", data={**body, "limit": "9"})
    assert count_of(digits) == 2


def test_the_url_fills_the_form_and_the_plan_says_what_it_would_run(browser: Browser, digits: History) -> None:
    html = browser.open("/evaluations/new?dataset=digits&checkpoint=digits-d&protocol=vgg-multi-scale-both&limit=100")
    plan = html[html.index('id="plan"') :]
    assert "dense and multi-crop at Q 32, 40, 48 px" in plan
    assert "<dd>100</dd>" in plan
    assert "softvote evaluate --dataset digits" in plan
    assert "curl -X POST http://localhost/api/v1/evaluations" in plan
    assert 'id="problems"' not in html


def test_the_plan_says_what_is_known_already_and_how_long_the_rest_takes_on_each_device(
    browser: Browser, digits: History
) -> None:
    url = "/evaluations/new?dataset=digits&checkpoint=digits-d&protocol=vgg-single-scale"

    def plan() -> str:
        html = browser.open(url)
        return html[html.index('id="plan"') :]

    assert "no live worker predicts" in plan()
    worker = workers.register(
        digits.runtime.db, WorkerIdentity.of_this_process("cpu@here", "cpu", ("predict",), {"device_name": "a chip"})
    )
    assert "none of them known yet" in (nothing := plan())
    assert 'not measured yet<span class="cell-sub">on cpu@here (a chip)' in nothing
    leases.renew(digits.runtime.db, worker, [], None, 10.0, 5e7)
    digits.submit(dataset="digits", checkpoints=["digits-d"], protocol="vgg-single-scale", limit=64)
    digits.predict()
    shown = plan()
    assert re.search(r"\d+ of them known", shown)
    assert re.search(r"<dt>compute</dt><dd>[\d.]+ [MG]MAC<span class=\"cell-sub\">of [\d.]+ [MG]MAC<", shown)
    assert re.search(r"<dd>\d+ min \d\d s<span class=\"cell-sub\">on cpu@here", shown)
    digits.submit(dataset="digits", checkpoints=["digits-d"], protocol="vgg-single-scale")
    digits.predict()
    assert re.search(r"all of them known.*<dd>none<.*<dd>that of fusing</dd>", plan(), re.DOTALL)


def test_while_the_form_is_being_filled_only_the_plan_says_what_is_missing(browser: Browser, digits: History) -> None:
    html = browser.open("/evaluations/new?dataset=digits")
    assert "tick at least one checkpoint" in html[html.index('id="plan"') :]
    assert "tick at least one checkpoint" not in html[: html.index('id="plan"')]
    assert "aria-invalid" not in html


def test_a_clone_is_the_form_filled_as_before(browser: Browser, digits: History) -> None:
    key = digits.submit(
        dataset="digits",
        checkpoints=["digits-e", "digits-d"],
        protocol={"scales": [32, 40], "modes": ["dense", "crops"], "hflip": False, "crop_grid": 3},
        fusion={"weights": [2, 1]},
        limit=50,
        priority=3,
        unreadable="skip",
    )
    response = browser.client.get(f"/evaluations/{key}/clone")
    assert response.status_code == 302
    fields = parse_qs(urlsplit(response.location).query)
    assert fields["checkpoint"] == ["digits-e", "digits-d"]
    assert fields["protocol"] == ["custom"]
    html = browser.open(response.location)
    token = re.search(r'name="csrf_token" value="([^"]+)"', html)
    assert token
    again = browser.client.post("/evaluations/new", data={**fields, "csrf_token": token[1]})
    with digits.runtime.db.read() as session:
        old, new = evaluations.get(session, key), evaluations.get(session, again.location.rpartition("/")[2])
    for name in ("dataset", "protocol", "images", "priority", "unreadable"):
        assert getattr(old, name) == getattr(new, name)
    assert [(m.checkpoint, m.weight) for m in old.checkpoints] == [(m.checkpoint, m.weight) for m in new.checkpoints]


def test_a_clone_of_all_images_has_no_limit_and_a_preset_stays_one(browser: Browser, digits: History) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol="center-crop")
    fields = parse_qs(urlsplit(browser.client.get(f"/evaluations/{key}/clone").location).query)
    assert fields["protocol"] == ["center-crop"]
    assert "limit" not in fields


def test_a_clone_says_that_protocols_of_single_checkpoints_are_lost(browser: Browser, digits: History) -> None:
    members = [{"checkpoint": "digits-a", "protocol": "center-crop"}, "digits-d"]
    key = digits.submit(dataset="digits", checkpoints=members, protocol="ten-crop")
    response = browser.client.get(f"/evaluations/{key}/clone", follow_redirects=True)
    assert "Protocols of single checkpoints are not copied" in response.get_data(as_text=True)


def test_cancelling_and_retrying_change_the_state_and_say_so(browser: Browser, digits: History) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol="center-crop")
    page = f"/evaluations/{key}"
    assert browser.post(page, f"{page}/cancel").status_code == 303
    assert status_of(digits, key) == "cancelled"
    assert "Cancelled. What was predicted is kept" in browser.open(page)
    assert browser.post(page, f"{page}/retry").status_code == 303
    assert status_of(digits, key) == "queued"


def test_cancelling_what_has_ended_is_a_page_that_says_so(browser: Browser, digits: History, ensemble: str) -> None:
    response = browser.post("/evaluations/new", f"/evaluations/{ensemble}/cancel")
    assert response.status_code == 409
    assert "is succeeded; it cannot be cancelled" in response.get_data(as_text=True)


def test_no_form_is_taken_without_its_token(browser: Browser, digits: History) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol="center-crop")
    posts = (
        "/evaluations/new",
        "/checkpoints/new",
        "/datasets/new",
        f"/evaluations/{key}/cancel",
        f"/evaluations/{key}/retry",
        "/checkpoints/digits-d/delete",
    )
    for path in posts:
        assert browser.client.post(path, data={"name": "x", "path": "y"}).status_code == 400, path
    assert status_of(digits, key) == "queued"


def test_registering_a_checkpoint_leads_to_its_page(browser: Browser, history: History) -> None:
    root = history.runtime.settings.checkpoint_roots[0]
    (root / "vgg16.safetensors").write_bytes(b"weights")
    response = browser.post(
        "/checkpoints/new",
        "/checkpoints/new",
        path="vgg16.safetensors",
        name="vgg16",
        training_scale="256-512",
        tags="a, b",
    )
    assert response.status_code == 303
    html = browser.open(response.location)
    assert "registering" in html
    assert "A worker now reads the file" in html


def test_a_refused_registration_keeps_what_was_typed(browser: Browser, digits: History) -> None:
    response = browser.post(
        "/checkpoints/new",
        "/checkpoints/new",
        path="/etc/passwd",
        name="digits-a",
        training_scale="big",
        notes="keep me",
    )
    html = response.get_data(as_text=True)
    assert response.status_code == 422
    assert 'id="problem-training_scale"' in html
    assert "keep me" in html
    response = browser.post("/checkpoints/new", "/checkpoints/new", path="/etc/passwd", name="new")
    assert "SOFTVOTE_CHECKPOINT_ROOTS" in response.get_data(as_text=True)


def test_registering_a_data_set_leads_to_its_page(browser: Browser, history: History) -> None:
    (history.runtime.settings.data_roots[0] / "val").mkdir()
    response = browser.post("/datasets/new", "/datasets/new", path="val", name="val")
    assert "A worker reads and fingerprints every image" in browser.open(response.location)
    taken = browser.post("/datasets/new", "/datasets/new", path="val", name="val")
    assert 'id="problem-name"' in taken.get_data(as_text=True)


def test_a_checkpoint_is_forgotten_only_while_nothing_uses_it(browser: Browser, digits: History) -> None:
    page = "/checkpoints/digits-a"
    digits.submit(dataset="digits", checkpoints=["digits-d"], protocol="center-crop")
    assert "/delete" not in browser.open("/checkpoints/digits-d")
    assert browser.post(page, "/checkpoints/digits-d/delete").status_code == 409
    assert browser.post(page, f"{page}/delete").location == "/checkpoints"
    with digits.runtime.db.read() as session:
        assert "digits-a" not in [c.name for c in checkpoints.list_page(session, cursor=None, limit=9).items]


def test_a_clone_keeps_the_rule_and_the_temperature_of_the_fusion(browser: Browser, digits: History) -> None:
    fusion = {"rule": "geometric", "weights": None, "temperature": 1.5}
    key = digits.submit(
        dataset="digits", checkpoints=["digits-d", "digits-e"], protocol={"scales": [32]}, fusion=fusion
    )
    html = browser.client.get(f"/evaluations/{key}/clone", follow_redirects=True).get_data(as_text=True)
    assert re.search(r'<option value="geometric" selected>', html)
    assert re.search(r'name="fusion.temperature" value="1.5"', html)


def test_rule_and_temperature_are_asked_for_and_a_wrong_one_is_shown_at_its_field(
    browser: Browser, digits: History
) -> None:
    fields = {
        "dataset": "digits",
        "checkpoint": ["digits-d", "digits-e"],
        "protocol": "vgg-multi-scale-dense",
        "fusion.rule": "vote",
        "fusion.temperature": "2",
    }
    response = browser.post("/evaluations/new", "/evaluations/new", **fields)
    assert response.status_code == 303
    with digits.runtime.db.read() as session:
        document = evaluations.get(session, response.location.rpartition("/")[2])
    assert document.fusion == {"rule": "vote", "weights": None, "temperature": 2.0}
    for wrong in ("-1", "warm"):
        refused = browser.post("/evaluations/new", "/evaluations/new", **{**fields, "fusion.temperature": wrong})
        assert refused.status_code == 422
        assert 'id="problem-fusion.temperature"' in refused.get_data(as_text=True)
