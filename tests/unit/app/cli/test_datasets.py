"""`softvote dataset …` on a real local service: every format registered, verified and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from ensembles.imagenet import imagenet_wnids
from tests.builders import encoded, photo, write_folder

NAMES = ("ant/1.jpg", "ant/2.jpg", "bee/1.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos", {name: encoded(photo(8, 6, i)) for i, name in enumerate(NAMES)})


def run(tmp_path: Path, *arguments: str, **environment: str) -> Result:
    settings = {"SOFTVOTE_HOME": str(tmp_path / "home"), "SOFTVOTE_URL": "", **environment}
    return CliRunner().invoke(main, ["dataset", *arguments], env=settings)


def ok(tmp_path: Path, *arguments: str) -> Result:
    result = run(tmp_path, *arguments)
    assert result.exit_code == 0, result.output
    return result


def test_a_manifest_is_registered_and_shown_with_where_its_labels_come_from(tmp_path: Path, folder: Path) -> None:
    (folder / "split.csv").write_text("path,label,id\nant/1.jpg,ant,a\nbee/1.jpg,bee,b\n")
    document = json.loads(ok(tmp_path, "add", str(folder / "split.csv"), "--json").stdout)
    assert (document["name"], document["format"], document["images"]) == ("split", "manifest", 2)
    assert document["class_names"] == ["ant", "bee"]
    shown = ok(tmp_path, "show", "split").stdout
    assert f"labels from  {folder / 'split.csv'}" in shown


def test_imagenet_s_raw_layout_is_recognised_and_needs_a_devkit(tmp_path: Path) -> None:
    name = "ILSVRC2012_val_00000001.JPEG"
    root = write_folder(tmp_path / "val", {name: encoded(photo(8, 6))})
    devkit = tmp_path / "elsewhere" / "data"
    devkit.mkdir(parents=True)
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("1000\n")
    classes = "".join(f"{wnid} {1000 - label} x\n" for label, wnid in enumerate(imagenet_wnids()))
    (devkit / "map_clsloc.txt").write_text(classes)

    refused = run(tmp_path, "add", str(root))
    assert refused.exit_code == 2
    assert "devkit: the folder of ImageNet's devkit" in refused.output
    options = ("--format", "imagenet-val", "--devkit", str(devkit.parent), "--json")
    document = json.loads(ok(tmp_path, "add", str(root), *options).stdout)
    assert (document["state"], document["format"], document["classes"]) == ("ready", "imagenet_val", 1000)
    assert document["label_source"] == str(devkit.parent)
    assert ok(tmp_path, "verify", "val").stdout == "1 image, as registered\n"


def test_two_descriptions_of_the_same_images_do_not_disturb_each_other(tmp_path: Path, folder: Path) -> None:
    """They have one fingerprint, and so share posteriors, but each has an index of its own."""
    (folder / "all.csv").write_text("path,label\n" + "".join(f"{name},{name[:3]}\n" for name in NAMES))
    documents = [json.loads(ok(tmp_path, "add", str(path), "--json").stdout) for path in (folder, folder / "all.csv")]
    assert documents[0]["fingerprint"] == documents[1]["fingerprint"]
    for document in documents:
        ok(tmp_path, "verify", document["name"])


def test_verify_finds_nothing_on_an_untouched_data_set(tmp_path: Path, folder: Path) -> None:
    ok(tmp_path, "add", str(folder))
    document = json.loads(ok(tmp_path, "verify", "photos", "--json").stdout)
    assert document == {
        "dataset": "photos",
        "images": 3,
        "unchanged": True,
        "changed": [],
        "missing": [],
        "new": [],
        "relabelled": [],
    }


def test_verify_exits_1_and_names_every_difference(tmp_path: Path, folder: Path) -> None:
    ok(tmp_path, "add", str(folder))
    (folder / "ant" / "1.jpg").write_bytes(b"changed")
    (folder / "ant" / "2.jpg").unlink()
    (folder / "bee" / "new\n.jpg").write_bytes(b"new")
    result = run(tmp_path, "verify", "photos")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "changed     'ant/1.jpg'",
        "missing     'ant/2.jpg'",
        "new         'bee/new\\n.jpg'",
    ]
    document = json.loads(run(tmp_path, "verify", "photos", "--json").stdout)
    assert document["unchanged"] is False
    (changed,) = document["changed"]
    assert (changed["id"], len(changed["registered_sha256"]), len(changed["found_sha256"])) == ("ant/1.jpg", 64, 64)
    assert document["missing"][0]["found_sha256"] is None
    assert document["new"][0]["registered_sha256"] is None


def test_verify_tells_another_label_in_a_manifest(tmp_path: Path, folder: Path) -> None:
    manifest = folder / "all.csv"
    manifest.write_text("ant/1.jpg,ant\nbee/1.jpg,bee\n")
    ok(tmp_path, "add", str(manifest))
    manifest.write_text("ant/1.jpg,bee\nbee/1.jpg,bee\n")
    result = run(tmp_path, "verify", "all")
    assert (result.exit_code, result.stdout) == (1, "relabelled  'ant/1.jpg'  ant -> bee\n")


def test_of_many_differences_the_first_twenty_are_printed(tmp_path: Path, folder: Path) -> None:
    ok(tmp_path, "add", str(folder))
    for number in range(25):
        (folder / "bee" / f"new-{number:02}.jpg").write_bytes(b"new")
    lines = run(tmp_path, "verify", "photos").stdout.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "new         and 5 more (--json lists all)"


def test_verify_runs_where_the_files_are(tmp_path: Path) -> None:
    result = run(tmp_path, "verify", "photos", SOFTVOTE_URL="http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "unset SOFTVOTE_URL" in result.output


def test_a_data_set_that_fails_to_register_exits_1_with_every_problem(tmp_path: Path, folder: Path) -> None:
    (folder / "bad.csv").write_text("path,label\nabsent.jpg,ant\n../x.jpg,ant\n")
    result = run(tmp_path, "add", str(folder / "bad.csv"))
    assert result.exit_code == 1
    assert "[dataset_problems]" in result.stdout
    assert (
        "line 3, column path: a relative path that stays below the manifest's folder; got '../x.jpg'" in result.stdout
    )
    (folder / "bad.csv").write_text("path,label\nabsent.jpg,ant\nant/1.jpg,ant\n")
    assert "line 2, column path: files that exist" in run(tmp_path, "add", str(folder / "bad.csv")).stdout
    (folder / "bad.csv").write_text("path,label\nant/1.jpg,ant\n")
    ok(tmp_path, "add", str(folder / "bad.csv"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("photos", "--devkit", "photos"), "devkit: none beside the format imagenet_val"),
        (("photos", "--format", "manifest"), "path: a manifest is a file whose name ends in .csv"),
        (("photos/ant/1.jpg",), "path: a manifest is a file whose name ends in .csv"),
        (("photos/ant/1.jpg", "--format", "image-folder"), "path: a data set of the format image_folder is a folder"),
        (("photos", "--name", "a\tb"), "name: "),
    ],
)
def test_what_does_not_fit_together_is_refused_at_once(
    tmp_path: Path, folder: Path, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(tmp_path, "add", *arguments)
    assert result.exit_code == 2
    assert said in result.output
