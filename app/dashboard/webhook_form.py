"""The form that adds a webhook, and what each event is called in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.dashboard.forms import Form
from app.representations.webhooks import WebhookEvent, WebhookRequest

#: In the order of the form.
WORDS: Mapping[WebhookEvent, str] = {
    WebhookEvent.EVALUATION_FINISHED: "with the scores of the ensemble",
    WebhookEvent.EVALUATION_FAILED: "with its error; not when somebody cancels it",
    WebhookEvent.GATE_PASSED: "the candidate is surely not worse by the margin",
    WebhookEvent.GATE_FAILED: "it surely is",
    WebhookEvent.GATE_INCONCLUSIVE: "too few images to tell",
    WebhookEvent.SCHEDULE_REGRESSION: "a scheduled run fails its rule",
    WebhookEvent.SCHEDULE_DRIFT: "the same files give other answers than before",
    WebhookEvent.SCHEDULE_MODEL_CHANGE: "a checkpoint's file was replaced",
    WebhookEvent.SCHEDULE_DATASET_CHANGED: "the data set is not what was registered",
    WebhookEvent.SCHEDULE_FAILED: "a scheduled run could not be made",
}


class WebhookForm(Form):
    """Tell an address of events."""

    labels: ClassVar[Mapping[str, str]] = {"url": "Address", "events": "Events", "note": "Note"}

    def ticked(self, event: WebhookEvent) -> bool:
        """Whether the event is asked for."""
        return event in self.values.getlist("events")

    def request(self) -> WebhookRequest | None:
        """What was asked for; None, with problems, where something is missing."""
        complete = self.require(url="the address to call is needed")
        if not self.values.getlist("events"):
            self.add("events", "at least one event is needed")
        if not complete or self.problems:
            return None
        return self.read(
            WebhookRequest,
            {"url": self["url"].strip(), "events": self.values.getlist("events"), "note": self["note"].strip()},
        )
