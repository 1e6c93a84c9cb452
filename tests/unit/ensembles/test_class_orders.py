import pytest

from ensembles.class_orders import map_classes
from ensembles.errors import ClassNamesMismatchError
from ensembles.imagenet import imagenet_classes, imagenet_wnids

NAMES = ("ant", "bee", "cat")


@pytest.mark.parametrize("checkpoint", [None, NAMES, list(NAMES)])
def test_nothing_is_mapped_where_names_are_equal_or_unknown(checkpoint):
    assert map_classes(checkpoint, NAMES) is None


def test_an_output_is_found_for_every_class_of_the_data_set():
    checkpoint = ("cat", "ant", "bee")
    mapping = map_classes(checkpoint, NAMES)
    assert mapping.by == "names"
    assert [checkpoint[output] for output in mapping.outputs] == list(NAMES)
    assert mapping.outputs == (1, 2, 0)


def test_moved_counts_the_classes_with_another_number():
    assert map_classes(("bee", "ant", "cat"), NAMES).moved == 2


def test_readable_names_and_wordnet_ids_are_matched_by_the_built_in_list():
    readable = [each.name for each in imagenet_classes()]
    assert (map_classes(readable, imagenet_wnids()).by, map_classes(readable, imagenet_wnids()).moved) == (
        "imagenet-1k",
        0,
    )
    alphabetical = sorted(readable)
    mapping = map_classes(readable, alphabetical)
    assert mapping.by == "names"
    mapping = map_classes(imagenet_wnids(), alphabetical)
    assert mapping.by == "imagenet-1k"
    assert [readable[output] for output in mapping.outputs] == alphabetical
    assert mapping.moved > 990


@pytest.mark.parametrize(
    ("checkpoint", "only_checkpoint", "only_dataset"),
    [
        (("ant", "bee", "dog"), "dog", "cat"),
        (("ant", "ant", "bee"), "ant", "cat"),
        (("Ant", "bee", "cat"), "Ant", "ant"),
    ],
    ids=["another class", "a name twice", "another spelling"],
)
def test_other_classes_are_refused_with_the_first_that_differs(checkpoint, only_checkpoint, only_dataset):
    with pytest.raises(ClassNamesMismatchError) as caught:
        map_classes(checkpoint, NAMES)
    assert (caught.value.checkpoint_class, caught.value.dataset_class) == (only_checkpoint, only_dataset)
