import numpy as np
import pytest

from ensembles.imagenet import imagenet_classes, imagenet_wnids, wnids_of


def test_there_are_a_thousand_classes_in_the_order_of_their_wordnet_ids():
    wnids = imagenet_wnids()
    assert len(set(wnids)) == 1000
    assert list(wnids) == sorted(wnids)
    assert (wnids[0], wnids[65], wnids[999]) == ("n01440764", "n01751748", "n15075141")


def test_readable_names_are_unique_although_lemmas_are_not():
    classes = imagenet_classes()
    assert len({each.name for each in classes}) == 1000
    assert [each.name for each in classes if each.lemmas == "crane"] == ["crane bird", "crane"]


def test_ids_and_lemmas_are_those_of_timm():
    data = pytest.importorskip("timm.data")
    info = data.ImageNetInfo("imagenet-1k")
    assert list(imagenet_wnids()) == info.label_names()
    assert [each.lemmas for each in imagenet_classes()] == info.label_descriptions()


def test_names_are_those_of_torchvision_s_weights():
    models = pytest.importorskip("torchvision.models")
    assert [each.name for each in imagenet_classes()] == models.VGG16_Weights.IMAGENET1K_V1.meta["categories"]


@pytest.mark.parametrize("field", ["wnid", "name"])
def test_names_in_any_order_are_translated_to_wordnet_ids(field):
    shuffled = list(imagenet_classes())
    np.random.default_rng(0).shuffle(shuffled)
    names = [getattr(each, field) for each in shuffled]
    assert wnids_of(names) == tuple(each.wnid for each in shuffled)


def test_lemmas_are_understood_only_in_the_common_order():
    lemmas = [each.lemmas for each in imagenet_classes()]
    assert wnids_of(lemmas) == imagenet_wnids()
    assert wnids_of(lemmas[::-1]) is None


@pytest.mark.parametrize(
    "change",
    [lambda names: names[:-1], lambda names: [*names[:-1], "n00000000"], lambda names: [*names[:-1], "tench"]],
    ids=["one less", "another", "mixed spelling"],
)
def test_other_names_are_not_those_of_imagenet(change):
    assert wnids_of(change(list(imagenet_wnids()))) is None
