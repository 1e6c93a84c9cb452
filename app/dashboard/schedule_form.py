"""The editor of schedules: what people type, as a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from werkzeug.datastructures import MultiDict

from app.dashboard.forms import Form
from app.fire_times import FireTimes, in_words, problems_of
from app.representations.schedules import ALARMS, ScheduleDocument, ScheduleRequest

UNITS = {"minutes": 60, "hours": 3600, "days": 86_400}
METRICS = {"top1_error": "top-1 error", "top5_error": "top-5 error", "nll": "negative log-likelihood"}
VERIFIES = {
    "sample": "a sample; all where it moved",
    "full": "all images, every time",
    "none": "nothing, only look at files",
}
MISFIRES = {"catch_up": "one run for all of them", "skip": "none, wait for the next slot"}
DEFAULTS = {
    "timing": "cron",
    "cron": "0 3 * * *",
    "every": "6",
    "unit": "hours",
    "timezone": "UTC",
    "protocol": "vgg-multi-scale-dense",
    "target": "checkpoints",
    "verify": "sample",
    "sample_images": "256",
    "tolerance": "0",
    "metric": "top1_error",
    "margin": "0.5",
    "alpha": "5",
    "misfire": "catch_up",
    "max_active": "1",
}


class ScheduleForm(Form):
    """Make or edit a schedule. A target that the form cannot say (an own protocol) is kept as it is."""

    labels: ClassVar[Mapping[str, str]] = {
        "name": "Name",
        "cron": "Cron expression",
        "every": "Interval",
        "timezone": "Time zone",
        "target.dataset": "Data set",
        "target.checkpoints": "Checkpoints",
        "target.tag": "Tag",
        "target.ensemble": "Saved ensemble",
        "target.protocol": "Protocol",
        "target.limit": "Images",
        "verify": "Verify",
        "sample_images": "Images of the sample",
        "tolerance": "Tolerance",
        "gate.metric": "Metric",
        "gate.margin": "Margin",
        "gate.alpha": "Chance of a wrong alarm",
        "misfire": "Missed slots",
        "max_active": "Runs at a time",
    }

    def value(self, name: str) -> str:
        """As typed, or the default where the field was not sent."""
        return self.values.get(name, DEFAULTS.get(name, ""))

    def notify(self) -> list[str]:
        """The verdicts that webhooks are told: those ticked, or every alarm where nobody was asked."""
        return self.values.getlist("notify") if self["notify_asked"] else list(ALARMS)

    def seconds(self) -> int | None:
        """The interval, where one is asked for."""
        if self.value("timing") != "every":
            return None
        number = self._number("every", "every")
        return None if number is None else round(number * UNITS.get(self.value("unit"), 3600))

    def times(self) -> FireTimes | None:
        """When it would fire; None where that is not right yet."""
        try:
            seconds = self.seconds() if self.value("every").strip() else 0
        except ValueError:
            return None
        cron = self.value("cron").strip() if self.value("timing") != "every" else None
        if problems_of(cron, seconds if cron is None else None, self.value("timezone")):
            return None
        return FireTimes(cron, None if cron is not None else seconds, None, self.value("timezone"))

    def words(self) -> str:
        """The timing of `times` in words."""
        times = self.times()
        return "" if times is None else in_words(times.cron, times.every_seconds)

    def request(self) -> ScheduleRequest | None:
        """What was asked for; None, with problems, where it makes no sense."""
        complete = self.require(name="a name is needed", **{"target.dataset": "a data set is needed"})
        numbers = {
            name: self._number(field, name)
            for field, name in (
                ("sample_images", "sample_images"),
                ("max_active", "max_active"),
                ("tolerance", "tolerance"),
                ("margin", "gate.margin"),
                ("alpha", "gate.alpha"),
            )
        }
        seconds = self.seconds()
        limit = self._number("target.limit", "target.limit") if self["target.limit"].strip() else None
        if not complete or self.problems:
            return None
        metric, margin = self.value("metric"), numbers["gate.margin"] or 0.0
        gate = {
            "metric": metric,
            "margin": margin if metric == "nll" else margin / 100,
            "alpha": (numbers["gate.alpha"] or 0.0) / 100,
        }
        return self.read(
            ScheduleRequest,
            {
                "name": self["name"].strip(),
                "cron": None if self.value("timing") == "every" else self.value("cron").strip(),
                "every": seconds,
                "timezone": self.value("timezone").strip(),
                "target": self._target(None if limit is None else round(limit)),
                "verify": self.value("verify"),
                "sample_images": round(numbers["sample_images"] or 0),
                "tolerance": numbers["tolerance"],
                "gate": None if self["no_gate"] else gate,
                "misfire": self.value("misfire"),
                "max_active": round(numbers["max_active"] or 0),
                "notify": self.notify(),
            },
        )

    def _target(self, limit: int | None) -> dict[str, Any]:
        target: dict[str, Any] = {"dataset": self["target.dataset"]}
        kind = self.value("target")
        if kind == "tag":
            target["tag"] = self["target.tag"].strip() or None
        elif kind == "ensemble":
            target["ensemble"] = self["target.ensemble"].strip() or None
        else:
            target["checkpoints"] = self.values.getlist("checkpoint")
        if kind != "ensemble":
            target["protocol"] = self.value("protocol")
        return {**target, **({} if limit is None else {"limit": limit})}

    def _number(self, field: str, place: str) -> float | None:
        text = self.value(field).strip().replace(",", ".")
        try:
            found = float(text)
        except ValueError:
            found = float("nan")
        if not abs(found) < 1e12:
            self.add(place, f"a number; got {self.value(field)!r}")
            return None
        return found


def filled(schedule: ScheduleDocument) -> ScheduleForm:
    """The form as it says an existing schedule."""
    target, gate = schedule.target, schedule.gate or {}
    fields: list[tuple[str, str]] = [
        ("name", schedule.name),
        ("timing", "cron" if schedule.cron is not None else "every"),
        ("timezone", schedule.timezone),
        ("target.dataset", target["dataset"]),
        ("target", next((kind for kind in ("tag", "ensemble") if target.get(kind)), "checkpoints")),
        ("target.tag", target.get("tag") or ""),
        ("target.ensemble", target.get("ensemble") or ""),
        ("target.limit", str(target.get("limit") or "")),
        ("verify", schedule.verify),
        ("sample_images", str(schedule.sample_images)),
        ("tolerance", f"{schedule.tolerance:g}"),
        ("misfire", schedule.misfire),
        ("max_active", str(schedule.max_active)),
        ("version", str(schedule.version)),
        ("notify_asked", "on"),
        *(("notify", verdict) for verdict in schedule.notify),
    ]
    if schedule.cron is not None:
        fields.append(("cron", schedule.cron))
    else:
        seconds = schedule.every or 0
        unit = next((name for name in ("days", "hours") if seconds % UNITS[name] == 0), "minutes")
        fields += [("every", f"{seconds / UNITS[unit]:g}"), ("unit", unit)]
    if isinstance(target.get("protocol"), str):
        fields.append(("protocol", target["protocol"]))
    names = [one if isinstance(one, str) else one["checkpoint"] for one in target.get("checkpoints") or ()]
    fields += [("checkpoint", name) for name in names]
    if schedule.gate is None:
        fields.append(("no_gate", "on"))
    else:
        metric = gate["metric"]
        margin = gate["margin"] if metric == "nll" else 100 * gate["margin"]
        fields += [("metric", metric), ("margin", f"{margin:g}"), ("alpha", f"{100 * gate['alpha']:g}")]
    return ScheduleForm(MultiDict(fields))


def keeps_target(schedule: ScheduleDocument) -> bool:
    """Whether a target says more than the form can: an own protocol, members that differ, another fusion."""
    target = schedule.target
    fusion = target.get("fusion") or {}
    return (
        isinstance(target.get("protocol"), dict)
        or any(isinstance(one, dict) for one in target.get("checkpoints") or ())
        or fusion.get("rule", "mean") != "mean"
        or fusion.get("weights") is not None
        or target.get("priority", 5) != 5
        or target.get("unreadable", "fail") != "fail"
    )
