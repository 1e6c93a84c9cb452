"""Imported members on pages, in a real Chromium: both widths, both themes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from app.db.queries import evaluations
from app.representations.predictions import PredictionsRequest
from app.runtime import Runtime
from app.services import imports
from app.services.leasing import leases
from ensembles.errors import PredictionsFileError
from tests.app_builders import Service, make_runtime
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from workers.local import run_until_done

pytestmark = pytest.mark.browser

IMAGES = 60


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runtime, dict[str, str]]]:
    """A network and two imports: together, alone, and one import that failed; ids by kind."""
    runtime = make_runtime(tmp_path_factory.mktemp("imported") / "home")
    service = Service(runtime)
    service.add_dataset(images=IMAGES)
    service.add_checkpoint("vgg-a")
    ids = np.array([f"{('cat', 'dog', '=cow')[i % 3]}/{i:04d}.jpg" for i in range(IMAGES)])
    random = np.random.default_rng(0)
    found = {}
    for name, rows in (("vit-b16", IMAGES), ("mixer", IMAGES), ("short", IMAGES - 2)):
        logits = random.normal(size=(rows, 3)) + 1.5 * np.eye(3)[np.arange(rows) % 3]
        np.savez(service.checkpoint_root / f"{name}.npz", ids=ids[:rows], logits=logits.astype(np.float32))
        request = PredictionsRequest(path=f"{name}.npz", name=name, dataset="digits", tags=["jax"])
        found[name] = imports.request_import(runtime.db, runtime.settings, request)
    while (lease := leases.lease_item(runtime.db, service.add_worker(), ["fuse"])) is not None:
        try:
            imports.complete_import(runtime.db, runtime.artifacts, lease)
        except PredictionsFileError as error:
            leases.fail_item(runtime.db, lease, error.code, str(error), retryable=False)
    found["mixed"] = service.submit("vgg-a", "vit-b16", "mixer")
    service.predict()
    run_until_done(runtime, found["mixed"])
    found["imports"] = service.submit("vit-b16", "mixer")
    run_until_done(runtime, found["imports"])
    with runtime.db.read() as session:
        assert {evaluations.get(session, found[one]).status for one in ("mixed", "imports")} == {"succeeded"}
    yield runtime, found
    runtime.db.dispose()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_imported_members_are_shown_for_what_they_are(
    chromium: Browser, laboratory: tuple[Runtime, dict[str, str]], size: tuple[int, int], theme: str
) -> None:
    runtime, ids = laboratory
    pages = {
        "imported-checkpoint": f"/checkpoints/{ids['vit-b16']}",
        "imported-failed": f"/checkpoints/{ids['short']}",
        "imported-checkpoints": "/checkpoints",
        "imported-mixed": f"/evaluations/{ids['mixed']}",
        "imported-alone": f"/evaluations/{ids['imports']}",
        "imported-launch": "/evaluations/new?dataset=digits&checkpoint=vgg-a&checkpoint=vit-b16",
    }
    faults = {}
    with serving(runtime) as address, visiting(chromium, address, size=size, theme=theme) as visit:
        for name, path in pages.items():
            visit.open(path)
            if found := visit.faults(name):
                faults[name] = found
        page = visit.open(pages["imported-checkpoint"])
        expect(page.get_by_role("main")).to_contain_text("Imported predictions: a member without a network.")
        expect(page.get_by_role("heading", name="Layers")).to_have_count(0)
        page = visit.open(pages["imported-failed"])
        expect(page.get_by_role("alert")).to_contain_text("2 missing")
        expect(page.get_by_role("alert")).to_contain_text("softvote predictions import")
    assert faults == {}
