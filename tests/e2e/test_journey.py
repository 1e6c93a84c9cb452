"""From nothing to an ensemble's error, by clicks alone: registering, launching, watching, reading, downloading."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.dashboard.formatting import percent
from ensembles.checkpoints import CheckpointMetadata, save_checkpoint
from ensembles.scales import TrainingScale
from tests.builders import mixed_images, write_folder
from tests.e2e.chromium import visiting
from tests.e2e.conftest import Laboratory
from tests.tiny_nets import tiny_network

pytestmark = pytest.mark.browser

#: Milliseconds for what a worker does meanwhile.
WORK = 120_000


def register(page: Page, address: str, kind: str, **fields: str) -> None:
    """Fill a registration form and wait until a worker has read what it names."""
    page.goto(f"{address}/{kind}/new")
    for name, text in fields.items():
        page.locator(f'[name="{name}"]').fill(text)
    page.get_by_role("button", name="Register").click()
    expect(page.locator(".page-head .status")).to_have_text("ready", timeout=WORK)


def test_from_files_to_the_error_of_an_ensemble(chromium: Browser, laboratory: Laboratory, tmp_path: Path) -> None:
    home, address = laboratory.deployment.home, laboratory.address
    write_folder(home / "data" / "pictures", mixed_images(24, ((48, 40), (40, 48))))
    for seed, name in enumerate(("net-a", "net-b")):
        network = tiny_network(name, configuration="A", classes=3, seed=seed).network
        save_checkpoint(
            home / "checkpoints" / f"{name}.safetensors", network, CheckpointMetadata(TrainingScale(34, 40))
        )

    with visiting(chromium, address, accept_downloads=True) as visit:
        page = visit.open("/")
        expect(page.get_by_role("heading", name="First steps")).to_be_visible()
        register(page, address, "datasets", path="pictures", name="pictures")
        for name in ("net-a", "net-b"):
            register(page, address, "checkpoints", path=f"{name}.safetensors", name=name)
        expect(page.locator("body")).to_contain_text("configuration A")

        page.get_by_role("link", name="New evaluation").click()
        page.get_by_label("Data set").select_option("pictures")
        page.get_by_label("net-a", exact=True).check()
        page.get_by_label("net-b", exact=True).check()
        page.get_by_label("vgg-multi-scale-both").check()
        expect(page.locator("#plan")).to_contain_text("dense and multi-crop at Q 34, 37, 40 px")
        page.get_by_role("button", name="Start the evaluation").click()

        expect(page.get_by_role("heading", name="Ensemble of 2")).to_be_visible(timeout=WORK)
        evaluation_id = page.url.rpartition("/")[2]
        scores = laboratory.deployment.scores(evaluation_id)
        ensemble = next(s for s in scores if s.subject == "ensemble" and s.metric == "top1_error")
        expect(page.locator("tr.row-ensemble")).to_contain_text(percent(ensemble.value, ensemble.n))
        assert page.locator("table.scores tbody tr").count() == len(
            {(s.subject, s.subject_name, tuple(s.scales or ()), s.mode) for s in scores}
        )

        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").first.click()
        download.value.save_as(tmp_path / "scores.csv")
        with (tmp_path / "scores.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert float(rows[-1]["top1_error"]) == ensemble.value

        page.get_by_role("link", name="Clone").click()
        expect(page.get_by_label("net-b", exact=True)).to_be_checked()
        page.get_by_role("button", name="Start the evaluation").click()
        expect(page.get_by_role("heading", name="Ensemble of 2")).to_be_visible(timeout=WORK)
        assert page.url.rpartition("/")[2] != evaluation_id

        visit.open("/")
        expect(page.get_by_role("heading", name="Best so far")).to_be_visible()
        expect(page.locator(".leader")).to_contain_text(re.compile(r"net-a \+ net-b|net-b \+ net-a"))
        assert visit.complaints == []
        assert visit.strangers() == set()
