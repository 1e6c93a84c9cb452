"""docs/reproducing-vgg.md: its commands parse, its protocols are valid, its evaluations fill the rows that it says."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from app.cli.main import main
from app.db.queries import paper as queries
from ensembles.architectures import view_macs
from ensembles.configurations import Architecture
from ensembles.paper import TABLES
from ensembles.protocols import PRESETS, Protocol
from ensembles.scales import TrainingScale
from ensembles.specs import PREPROCESSING_PRESETS
from ensembles.statistics import wilson_interval
from tests.app_builders import make_runtime
from tests.history import History

PAGE = (Path(__file__).parents[3] / "docs/reproducing-vgg.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if not language for line in text.splitlines()]
SNIPPETS = [text for language, text in BLOCKS if language == "python"]
JITTERED = TrainingScale(256, 512)

#: The protocol files in the order in which the page shows them.
FILES = dict(
    zip(
        ("caffe-single.json", "caffe-both.json", "caffe-dense.json", "caffe-crops.json"),
        (json.loads(text) for language, text in BLOCKS if language == "json"),
        strict=True,
    )
)


def parsed(line: str) -> tuple[str, dict[str, Any]]:
    """A command's name and the values of its parameters, as click reads them; nothing is run."""
    program, *arguments = shlex.split(line)
    assert program == "softvote", line
    command: click.Command = main
    path = []
    while isinstance(command, click.Group):
        name, *arguments = arguments
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no command {name!r}: {line}"
        command = found
        path.append(name)
    return " ".join(path), command.make_context(" ".join(path), arguments).params


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the commands name, so that a path which must exist does."""
    for folder in ("imagenet/val", "imagenet/ILSVRC2012_devkit_t12"):
        (tmp_path / folder).mkdir(parents=True)
    for name in re.findall(r"\S+\.(?:pth|safetensors)", "\n".join(COMMANDS)):
        (tmp_path / name).touch()
    for name, protocol in FILES.items():
        (tmp_path / name).write_text(json.dumps(protocol))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def protocol_of(value: str) -> Protocol:
    return Protocol.parse(FILES[value] if value.endswith(".json") else value)


def evaluations() -> list[dict[str, Any]]:
    return [values for command, values in map(parsed, COMMANDS) if command == "evaluate"]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_parses(files: Path, line: str) -> None:
    command, values = parsed(line)
    if command == "evaluate":
        protocol_of(values["protocol"])
    if command == "checkpoint add":
        assert values["preprocess"] in (None, *PREPROCESSING_PRESETS)
        if values["train_scale"]:
            TrainingScale.parse(values["train_scale"])


def test_a_command_that_is_none_or_has_an_unknown_option_would_be_noticed(files: Path) -> None:
    with pytest.raises(AssertionError, match="there is no command"):
        parsed("softvote reproduce vgg")
    with pytest.raises(click.NoSuchOption):
        parsed("softvote evaluate --dataset d --checkpoint c --protocl p")
    with pytest.raises(click.BadParameter):
        parsed("softvote dataset add nowhere")


def test_every_name_that_is_evaluated_was_registered_before(files: Path) -> None:
    registered = set()
    for command, values in map(parsed, COMMANDS):
        if command in ("dataset add", "checkpoint add"):
            registered.add(values["name"])
        elif command == "evaluate":
            assert {values["dataset"], *values["checkpoints"]} <= registered
        elif command in ("dataset verify", "checkpoint show"):
            assert values["key"] in registered


def test_every_preset_option_and_protocol_that_the_page_names_exists() -> None:
    assert all(protocol_of(name) for name in FILES)
    presets = set(re.findall(r"`((?:vgg-(?:single|multi)|caffe-vgg|center-crop|ten-crop|torchvision)[\w-]*)`", PAGE))
    assert presets <= {*PRESETS, *PREPROCESSING_PRESETS}
    options = re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE)
    assert set(options) <= set(Protocol().to_dict())
    for option, default, caffe in re.findall(
        r"^\| `(pool_rounding|resize|antialias|long_side|score_pooling)`.*\| `(\w+)` \| `(\w+)`[^|]* \|$",
        PAGE,
        re.MULTILINE,
    ):
        assert [default, caffe] == [
            str(protocol.to_dict()[option]).lower() for protocol in (Protocol(), PRESETS["caffe-vgg"])
        ]


@pytest.mark.parametrize("choose", ["caffe", "defaults"])
def test_the_evaluations_of_the_page_fill_every_row_of_public_weights_and_no_other(
    files: Path, tmp_path: Path, choose: str
) -> None:
    runtime = make_runtime(tmp_path / "home")
    history = History(runtime, macs_per_second=1e18)
    history.dataset("imagenet-val", images=50_000, classes=[f"n{i:08d}" for i in range(1000)], size=(500, 375))
    for name in ("D", "E"):
        history.checkpoint(f"vgg-{name.lower()}", Architecture(name), (256, 512))
    wanted = [e for e in evaluations() if len(e["checkpoints"]) == 2]
    wanted = [e for e in wanted if e["protocol"].startswith("caffe-") == (choose == "caffe")]
    assert len(wanted) == (3 if choose == "caffe" else 1)
    filled, keys = set(), []
    for values in wanted:
        protocol = protocol_of(values["protocol"])
        keys.append(
            history.submit(dataset="imagenet-val", checkpoints=list(values["checkpoints"]), protocol=protocol.to_dict())
        )
        history.predict()
        history.finish(keys[-1], [12_000] * (19 if len(protocol.modes) == 2 else 9))
    with runtime.db.read() as session:
        for table in queries.get(session, keys).tables:
            rows = [row for row in table.rows if row.printed]
            assert len(rows) == len(TABLES[table.number]), "a row is measured twice"
            filled |= {(table.number, i) for i, row in enumerate(rows) if row.measured}
    runtime.db.dispose()
    public = {(number, i) for number, rows in TABLES.items() for i, row in enumerate(rows) if row.reproducible}
    # One evaluation of both modes alone has no ensemble of one mode.
    missing = set() if choose == "caffe" else {(6, 1), (6, 2)}
    assert filled == public - missing


def test_the_costs_are_those_of_the_views() -> None:
    rows = re.findall(r"^\| ([DE]) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert [row[0] for row in rows] == ["D", "E"]
    total, dense_total = 0.0, 0.0
    views = protocol_of("caffe-both.json").views(JITTERED, 224)
    for name, *cells in rows:
        gmacs = [view_macs(Architecture(name), view, 500, 375) / 1e9 for view in views]
        assert [f"{value:.1f}" for value in [*gmacs[:4], sum(gmacs)]] == cells
        assert len(set(gmacs[3:])) == 1
        total, dense_total = total + sum(gmacs), dense_total + sum(gmacs[:3])
    assert f"{50_000 * total:.3g}" == "3.13e+08"
    assert "3.13·10⁸ GMAC" in PAGE
    assert round(total / dense_total) == 6


def test_the_parameters_and_intervals_are_exact() -> None:
    for name in "DE":
        assert f"{Architecture(name).parameters:,}" in PAGE
    low, high = wilson_interval(256, 1000)
    assert f"{100 * low:.1f} to {100 * high:.1f} %" in PAGE
    for errors, words in ((12_400, "24.8 % is [24.42, 25.18]"), (3_750, "7.5 % is [7.27, 7.73]")):
        low, high = wilson_interval(errors, 50_000)
        assert f"[{100 * low:.2f}, {100 * high:.2f}]" in words
        assert words in PAGE


def test_the_snippet_for_the_blacklist_writes_a_protocol(tmp_path: Path) -> None:
    (snippet,) = (text for text in SNIPPETS if "blacklist" in text)
    (tmp_path / "blacklist.txt").write_text("36\n50000\n")
    subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, check=True)
    protocol = Protocol.parse(json.loads((tmp_path / "without-blacklist.json").read_text()))
    assert protocol.exclude == ("ILSVRC2012_val_00000036.JPEG", "ILSVRC2012_val_00050000.JPEG")


def test_the_snippet_for_caffe_is_python() -> None:
    (snippet,) = (text for text in SNIPPETS if "import caffe" in text)
    assert {alias.name for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Import) for alias in node.names}


def test_the_page_says_that_nothing_was_measured() -> None:
    assert "No ImageNet number was measured here." in PAGE
