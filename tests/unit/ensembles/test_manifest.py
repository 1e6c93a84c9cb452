import os

import pytest

from ensembles.datasets import index_images, scan_image_folder
from ensembles.errors import DatasetFormatError, DatasetProblemsError, EmptyDatasetError
from ensembles.imagenet import imagenet_wnids
from ensembles.manifest import list_manifest
from tests.builders import encoded, photo, write_folder


@pytest.fixture
def folder(tmp_path):
    """Three images in two folders."""
    names = ("ant/1.jpg", "ant/2.jpg", "bee/1.jpg")
    return write_folder(tmp_path / "data", {name: encoded(photo(8, 6, i)) for i, name in enumerate(names)})


def write(folder, text, name="images.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder, text):
    listing = list_manifest(write(folder, text))
    return {image.id: listing.classes[image.label] for image in listing.images}


def problems(folder, text):
    with pytest.raises(DatasetProblemsError) as caught:
        list_manifest(write(folder, text))
    return [(problem.field, problem.value) for problem in caught.value.problems]


ROWS = "ant/1.jpg,ant\nbee/1.jpg,bee\n"


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        f"path,label\n{ROWS}",
        "label,path\nant,ant/1.jpg\nbee,bee/1.jpg\n",
        "Path , LABEL,width\nant/1.jpg,ant,8\nbee/1.jpg,bee,8\n",
        f"# made by hand\n#\npath,label\n{ROWS}".replace("\n", "\r\n"),
        f"\ufeffpath,label\n\n{ROWS}\n",
        '"ant/1.jpg","ant"\n./bee/1.jpg, bee',
    ],
    ids=["no header", "header", "other order", "more columns", "comments", "byte order mark", "quotes and spaces"],
)
def test_paths_and_labels_are_read_whatever_the_dress(folder, text):
    assert read(folder, text) == {"ant/1.jpg": "ant", "bee/1.jpg": "bee"}


@pytest.mark.parametrize(
    "text",
    [f"path,label,id\nant/1.jpg,ant,first\n{'bee/1.jpg,bee,second'}", "ant/1.jpg,ant,first\nbee/1.jpg,bee,second"],
)
def test_an_image_may_have_an_id_of_its_own(folder, text):
    listing = list_manifest(write(folder, text))
    assert {image.id: image.path for image in listing.images} == {"first": "ant/1.jpg", "second": "bee/1.jpg"}
    index = index_images(listing)
    assert {image.id: image.file for image in index.images} == {"first": "ant/1.jpg", "second": "bee/1.jpg"}


def test_one_file_may_stand_under_two_ids(folder):
    index = index_images(list_manifest(write(folder, "ant/1.jpg,ant,a\nant/1.jpg,ant,b\n")))
    assert len({image.sha256 for image in index.images}) == 1
    assert set(index.ids) == {"a", "b"}


def test_a_manifest_of_an_image_folder_has_its_fingerprint(folder):
    rows = "path,label\nant/1.jpg,ant\nbee/1.jpg,bee\nant/2.jpg,ant\n"
    assert index_images(list_manifest(write(folder, rows))).fingerprint == scan_image_folder(folder).fingerprint


def test_class_names_are_sorted_and_none_is_invented(folder):
    listing = list_manifest(write(folder, "ant/1.jpg,10\nbee/1.jpg,bee\nant/2.jpg,9\n"))
    assert listing.classes == ("10", "9", "bee")


def test_labels_that_are_all_numbers_are_class_numbers_in_numeric_order(folder):
    listing = list_manifest(write(folder, "ant/1.jpg,10\nbee/1.jpg,2\nant/2.jpg,0\n"))
    assert listing.classes == tuple(str(number) for number in range(11))
    assert [image.label for image in listing.images] == [10, 2, 0]


def test_a_class_number_without_a_list_has_a_limit(folder):
    assert problems(folder, "ant/1.jpg,99999\nbee/1.jpg,100000\n") == [("line 2, column label", "100000")]


@pytest.mark.parametrize("rows", [ROWS, "ant/1.jpg,1\nbee/1.jpg,2\n"], ids=["names", "numbers"])
def test_a_list_of_classes_gives_their_order_and_those_without_images(folder, rows):
    write(folder, "cat\r\nant\r\nbee\r\n\r\n", "names.txt")
    listing = list_manifest(write(folder, f"# Classes: names.txt\npath,label\n{rows}"))
    assert listing.classes == ("cat", "ant", "bee")
    assert [image.label for image in listing.images] == [1, 2]


def test_names_that_are_numbers_are_names_where_a_list_has_them(folder):
    write(folder, "7\n0\n3\n", "names.txt")
    listing = list_manifest(write(folder, "# classes: names.txt\nant/1.jpg,0\nbee/1.jpg,3\n"))
    assert [image.label for image in listing.images] == [1, 2]


def test_the_classes_of_imagenet_need_no_file(folder):
    listing = list_manifest(write(folder, "# classes: imagenet-1k\nant/1.jpg,n01440764\nbee/1.jpg,n15075141\n"))
    assert listing.classes == imagenet_wnids()
    assert [image.label for image in listing.images] == [0, 999]
    listing = list_manifest(write(folder, "# classes: imagenet-1k\nant/1.jpg,65\n"))
    assert [image.label for image in listing.images] == [65]


def test_all_problems_are_found_in_one_reading_in_the_order_of_the_lines(folder):
    write(folder, "ant\nbee\n", "names.txt")
    text = (
        "# classes: names.txt\n"
        "path,label,id\n"
        "ant/1.jpg,ant,a\n"
        "ant/2.jpg,amt,b\n"
        "bee/1.jpg,bee\n"
        "../secret.jpg,bee,c\n"
        "bee/1.jpg,bee,a\n"
        "/etc/passwd,ant,d\n"
        ",ant,e\n"
        "ant/2.jpg,ant, \n"
    )
    assert problems(folder, text) == [
        ("line 4, column label", "amt"),
        ("line 5", ["bee/1.jpg", "bee"]),
        ("line 6, column path", "../secret.jpg"),
        ("line 7, column id", "a"),
        ("line 8, column path", "/etc/passwd"),
        ("line 9, column path", ""),
        ("line 10, column id", " "),
    ]


def test_a_problem_names_line_column_rule_and_value(folder):
    with pytest.raises(DatasetProblemsError) as caught:
        list_manifest(write(folder, f"{ROWS}ant/1.jpg,ant\n"))
    problem = "line 3, column path: each image once; line 1 has the same path; got 'ant/1.jpg'"
    assert str(caught.value) == f"data set 'images.csv' has 1 problem: {problem}"


def test_of_many_problems_the_first_twenty_are_said_and_all_are_counted(folder):
    with pytest.raises(DatasetProblemsError) as caught:
        list_manifest(write(folder, "path,label\n" + "".join(f"../{i}.jpg,ant\n" for i in range(30))))
    assert len(caught.value.problems) == 30
    message = str(caught.value)
    assert "has 30 problems, first 20: line 2, column path" in message
    assert "'../19.jpg'" in message
    assert "'../20.jpg'" not in message


def test_lines_are_counted_as_an_editor_counts_them(folder):
    name = "ant/two\nlines.jpg"
    write_folder(folder, {name: encoded(photo(8, 6))})
    text = f'# comment\npath,label\n"{name}",ant\n\nbee/1.jpg,bee,too,many\n'
    assert problems(folder, text) == [("line 6", ["bee/1.jpg", "bee", "too", "many"])]
    assert read(folder, text.replace(",too,many", "")) == {name: "ant", "bee/1.jpg": "bee"}


@pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x1c", "\x85"])
def test_only_line_ends_end_a_line(folder, separator):
    assert set(read(folder, f"ant/{separator}.jpg,ant\n")) == {f"ant/{separator}.jpg"}


def test_an_unfinished_quote_is_named_by_the_line_where_it_began(folder):
    assert [field for field, _ in problems(folder, f'{ROWS}"ant/2.jpg,ant\nmore\n')] == ["line 3"]


@pytest.mark.parametrize(
    "text",
    ["path,label,path\n", "path,lable\nant/1.jpg,ant\n", "label,id\n", "ant/1.jpg\n", "a,b,c,d\n"],
    ids=["path twice", "label misspelt", "no path", "one cell", "four cells"],
)
def test_columns_that_cannot_be_told_are_refused(folder, text):
    with pytest.raises(DatasetFormatError, match=r"^line 1: .*path"):
        list_manifest(write(folder, text))


@pytest.mark.parametrize("text", ["", "# nothing\n", "path,label\n", "\n\n"])
def test_a_manifest_without_images_is_an_empty_data_set(folder, text):
    with pytest.raises(EmptyDatasetError):
        index_images(list_manifest(write(folder, text)))


@pytest.mark.parametrize("label", ["", " ", b"caf\xe9"], ids=["empty", "blank", "not UTF-8"])
def test_a_label_is_text(folder, label):
    text = b"ant/1.jpg," + (label if isinstance(label, bytes) else label.encode()) + b"\nbee/1.jpg,bee\n"
    assert [field for field, _ in problems(folder, text)] == ["line 1, column label"]


def test_a_file_name_that_is_not_utf_8_can_be_listed(folder):
    name = os.fsdecode(b"ant/caf\xe9.jpg")
    write_folder(folder, {name: encoded(photo(8, 6))})
    index = index_images(list_manifest(write(folder, b"path,label\nant/caf\xe9.jpg,ant\n")))
    assert index.ids == (name,)


def test_utf_16_is_refused(folder):
    with pytest.raises(DatasetFormatError, match="UTF-8 text"):
        list_manifest(write(folder, ROWS.encode("utf-16")))


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ("cat\n\nant\n", "names.txt, line 2"),
        ("cat\nant\ncat\n", "names.txt, line 3"),
        (b"cat\nb\xffe\n", "names.txt, line 2"),
        ("", "classes"),
    ],
    ids=["blank line", "twice", "not UTF-8", "empty"],
)
def test_a_faulty_list_of_classes_is_named_by_its_line(folder, names, field):
    write(folder, names, "names.txt")
    with pytest.raises(DatasetFormatError) as caught:
        list_manifest(write(folder, f"# classes: names.txt\n{ROWS}"))
    assert caught.value.field == field


@pytest.mark.parametrize("named", ["absent.txt", "../names.txt", "/etc/hostname", "ant", "link.txt", ""])
def test_a_list_of_classes_lies_below_the_manifest_s_folder(folder, named):
    write(folder.parent, "ant\nbee\n", "names.txt")
    (folder / "link.txt").symlink_to("../names.txt")
    with pytest.raises(DatasetFormatError, match=r"^classes: "):
        list_manifest(write(folder, f"# classes: {named}\n{ROWS}"))


def test_two_lists_of_classes_are_refused(folder):
    with pytest.raises(DatasetFormatError, match="at most"):
        list_manifest(write(folder, f"# classes: a.txt\n# classes: b.txt\n{ROWS}"))


def test_files_that_cannot_be_read_are_all_named_by_their_lines(folder):
    (folder / "secret.jpg").symlink_to("/etc/hostname")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    rows = "".join(f"{name},ant\n" for name in ("absent.jpg", "ant/1.jpg", "secret.jpg", "loop.jpg", "pipe.jpg", "ant"))
    with pytest.raises(DatasetProblemsError) as caught:
        index_images(list_manifest(write(folder, rows)))
    assert [(problem.field, problem.value) for problem in caught.value.problems] == [
        ("line 1, column path", "absent.jpg"),
        ("line 3, column path", "secret.jpg"),
        ("line 4, column path", "loop.jpg"),
        ("line 5, column path", "pipe.jpg"),
        ("line 6, column path", "ant"),
    ]
