"""A real server and a real browser: what they need, and a page that remembers everything that went wrong on it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Request
from waitress import wasyncore
from waitress.server import create_server

from app.factory import create_app
from app.runtime import Runtime

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

AXE = Path(__file__).parent / "vendor" / "axe.min.js"

#: Findings of this weight fail a test.
GRAVE = ("serious", "critical")

#: A folder that pictures of pages are kept in, for people to look at.
SCREENSHOTS = os.environ.get("SOFTVOTE_TEST_SCREENSHOTS")

DESKTOP, PHONE = (1440, 900), (390, 844)

_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP violation: ${event.effectiveDirective} ${event.blockedURI} in ${event.sourceFile}`);
});
"""


@contextmanager
def serving(runtime: Runtime) -> Iterator[str]:
    """The web application of `runtime` on a free port of this machine; its address, without a trailing slash."""
    sockets: dict[int, Any] = {}
    server = create_server(create_app(runtime), map=sockets, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, name="waitress")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.task_dispatcher.shutdown()
        # The loop ends when no socket is left; only its own thread may close them.
        server.trigger.pull_trigger(lambda: wasyncore.close_all(sockets))
        thread.join(10)
        assert not thread.is_alive()


@dataclass
class Visit:
    """One tab on one server, with what it complained about and whom it talked to."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(_REPORT_VIOLATIONS)
        self.page.add_init_script(path=AXE)
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note)

    def _note(self, request: Request) -> None:
        self.requests.append(request)

    def open(self, path: str) -> Page:
        """Go to a page of the server and wait for its scripts."""
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("load")
        return self.page

    def strangers(self) -> set[str]:
        """Other hosts that were asked for anything."""
        own = urlsplit(self.address).netloc
        return {netloc for r in self.requests if (netloc := urlsplit(r.url).netloc) not in (own, "")}

    def grave_findings(self) -> list[str]:
        """What axe-core holds against the page as it stands, serious and critical."""
        report: dict[str, Any] = self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{finding['id']} ({finding['impact']}): {node['html']} {node['failureSummary']}"
            for finding in report["violations"]
            if finding["impact"] in GRAVE
            for node in finding["nodes"]
        ]

    def faults(self, name: str, *, axe: bool = True, expected: str = "nothing of this kind") -> list[str]:
        """What is wrong with the page as it stands; with SOFTVOTE_TEST_SCREENSHOTS a picture is kept, to be looked at.

        Args:
            name: of the picture; size and theme are added.
            axe: whether axe-core is asked.
            expected: complaints that hold these words are none, as of a page that is refused on purpose.
        """
        found = [line for line in self.complaints if expected not in line]
        self.complaints.clear()
        if axe:
            found += self.grave_findings()
        if self.too_wide() > 0:
            found.append(f"{self.too_wide()} px wider than the window")
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            dark = self.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
            width = self.page.viewport_size["width"] if self.page.viewport_size else 0
            picture = f"{name}-{width}-{'dark' if dark else 'light'}.png"
            self.page.screenshot(path=Path(SCREENSHOTS) / picture, full_page=True)
        return found

    def too_wide(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@contextmanager
def visiting(
    browser: Browser, address: str, *, size: tuple[int, int] = DESKTOP, theme: str = "light", **options: Any
) -> Iterator[Visit]:
    """A fresh profile with one tab, for a window of that size and a system of that theme."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,  # type: ignore[arg-type]
        **options,
    )
    try:
        yield Visit(context.new_page(), address)
    finally:
        context.close()
