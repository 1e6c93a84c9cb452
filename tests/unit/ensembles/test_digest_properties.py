"""What can change a score changes the digest that the score is kept under, and nothing else does.

Views have this test in `test_specs`, checkpoints in `tests/unit/app/services/test_checkpoint_fingerprint.py`.
"""

import hashlib
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from ensembles.dataset_index import DatasetIndex, ImageRecord
from ensembles.protocols import Protocol
from ensembles.scales import TrainingScale

PROTOCOLS = {
    "scales": ["multi", "single", (256,), (224, 256), (256, 384, 512)],
    "scale_step": [4, 16, 32],
    "modes": [("dense",), ("crops",), ("dense", "crops")],
    "hflip": [True, False],
    "crop_grid": [3, 5, "center", "ten"],
    "score_pooling": ["logits", "probs", "probs_max"],
    "resize": ["bilinear", "bicubic", "nearest"],
    "antialias": [True, False],
    "long_side": ["trunc", "round", "ceil"],
    "pool_rounding": ["floor", "ceil"],
    "decoder": ["pillow", "torchcodec"],
    "exif": ["ignore", "transpose"],
    "dtype": ["float32", "bfloat16", "float16"],
    "exclude": [None, (), ("a.jpg",), ("a.jpg", "b.jpg")],
    "name": [None, "mine", "yours"],
}
TRAINING_SCALES = [TrainingScale(256, 256), TrainingScale(384, 384), TrainingScale(256, 512)]

protocols = st.builds(Protocol, **{name: st.sampled_from(values) for name, values in PROTOCOLS.items()})


def scales_of(protocol, training_scale):
    """The paper's rules, said here once more and independently."""
    smallest, largest = training_scale.smallest, training_scale.largest
    if isinstance(protocol.scales, tuple):
        return set(protocol.scales)
    if protocol.scales == "single":
        return {(smallest + largest) // 2}
    if smallest == largest:
        return {smallest - protocol.scale_step, smallest, smallest + protocol.scale_step}
    return {smallest, (smallest + largest) // 2, largest}


def matters(name, before, after, training_scale):
    """Whether a change of one field can change a posterior."""
    if name in ("name", "exclude"):
        return False
    if name in ("scales", "scale_step"):
        return scales_of(before, training_scale) != scales_of(after, training_scale)
    if name == "crop_grid":
        return "crops" in before.modes
    if name in ("score_pooling", "pool_rounding"):
        return "dense" in before.modes
    return name != "antialias" or before.resize != "nearest"


def test_the_choices_here_cover_every_field_of_a_protocol():
    assert set(PROTOCOLS) == {field.name for field in fields(Protocol)}


@given(protocols, st.sampled_from(TRAINING_SCALES), st.data())
def test_the_views_of_a_protocol_change_with_every_field_that_can_change_a_posterior_and_no_other(
    protocol, training_scale, data
):
    for name, values in PROTOCOLS.items():
        other = data.draw(st.sampled_from([value for value in values if value != getattr(protocol, name)]), label=name)
        changed = replace(protocol, **{name: other})
        before, after = ({view.digest for view in p.views(training_scale, 192)} for p in (protocol, changed))
        assert (before != after) == matters(name, protocol, changed, training_scale), name


@given(protocols, st.data())
def test_the_digest_of_a_protocol_changes_with_every_field_but_its_name(protocol, data):
    for name, values in PROTOCOLS.items():
        other = data.draw(st.sampled_from([value for value in values if value != getattr(protocol, name)]), label=name)
        assert (replace(protocol, **{name: other}).digest == protocol.digest) == (name == "name"), name


CLASSES = ("ant", "bee", "cat")


@st.composite
def data_sets(draw):
    ids = draw(st.lists(st.text("abc/é", min_size=1, max_size=4), min_size=1, max_size=6, unique=True))
    return DatasetIndex("image_folder", CLASSES, tuple(draw(records(image_id)) for image_id in ids))


def records(image_id):
    return st.builds(
        ImageRecord,
        st.just(image_id),
        st.integers(0, 2),
        st.integers(0, 9).map(lambda n: hashlib.sha256(bytes([n])).hexdigest()),
        st.integers(0, 600),
        st.integers(0, 600),
        st.integers(0, 10**6),
        st.none() | st.text("xyz", min_size=1),
    )


#: Field of an image -> another value of it.
IMAGE_CHANGES = {
    "id": lambda image: image.id + "#",
    "label": lambda image: (image.label + 1) % 3,
    "sha256": lambda image: hashlib.sha256(image.sha256.encode()).hexdigest(),
    "width": lambda image: image.width + 1,
    "height": lambda image: image.height + 1,
    "size_bytes": lambda image: image.size_bytes + 1,
    "path": lambda image: f"{image.path}/elsewhere",
}


def test_the_changes_here_cover_every_field_of_an_image_and_of_a_data_set():
    assert set(IMAGE_CHANGES) == {field.name for field in fields(ImageRecord)}
    assert {field.name for field in fields(DatasetIndex)} == {"format", "classes", "images"}


@given(data_sets(), st.data())
def test_a_data_set_s_fingerprint_changes_with_what_scores_depend_on_and_nothing_else(index, data):
    place = data.draw(st.integers(0, len(index.images) - 1))
    for name, change in IMAGE_CHANGES.items():
        images = list(index.images)
        images[place] = replace(images[place], **{name: change(images[place])})
        same = DatasetIndex(index.format, CLASSES, tuple(images)).fingerprint == index.fingerprint
        assert same == (name not in ("id", "label", "sha256")), name
    shuffled = data.draw(st.permutations(index.images))
    assert DatasetIndex("manifest", CLASSES, tuple(shuffled)).fingerprint == index.fingerprint
    assert DatasetIndex(index.format, ("ant", "bee", "dog"), index.images).fingerprint != index.fingerprint
    assert DatasetIndex(index.format, ("bee", "ant", "cat"), index.images).fingerprint != index.fingerprint
    if len(index.images) > 1:
        assert DatasetIndex(index.format, CLASSES, index.images[1:]).fingerprint != index.fingerprint
