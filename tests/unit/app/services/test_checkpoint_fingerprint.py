"""What can change a posterior changes a checkpoint's fingerprint, and nothing else does."""

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from app.services.checkpoints import CheckpointFacts
from ensembles.configurations import Architecture
from ensembles.specs import PREPROCESSING_PRESETS

architectures = st.builds(
    Architecture,
    st.sampled_from(["A", "A-LRN", "B", "C", "D", "E"]),
    st.booleans(),
    st.sampled_from([0.125, 0.5, 1.0]),
    st.integers(2, 1000),
    st.sampled_from([32, 64, 224]),
).map(Architecture.to_dict)
preprocessings = st.sampled_from([preset.to_dict() for preset in PREPROCESSING_PRESETS.values()])
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
names = st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=4)

#: Every field, with values to change it to.
FACTS = {
    "path": st.text(min_size=1),
    "sha256": hashes,
    "size_bytes": st.integers(1, 10**9),
    "architecture": architectures,
    "architecture_name": st.sampled_from(["vgg11", "vgg16"]),
    "classes": st.integers(2, 1000),
    "parameters": st.integers(1, 10**9),
    "macs": st.floats(1, 1e12),
    "training_scale": st.none() | st.sampled_from([(256, 256), (384, 384), (256, 512)]),
    "preprocessing": preprocessings,
    "class_names": st.none() | names,
}
RELEVANT = {"sha256", "architecture", "preprocessing", "class_names"}


def test_the_facts_here_are_all_there_are() -> None:
    assert set(FACTS) == {field.name for field in fields(CheckpointFacts)}


@given(st.builds(CheckpointFacts, **FACTS), st.data())
def test_every_fact_that_posteriors_depend_on_changes_the_fingerprint_and_no_other(
    facts: CheckpointFacts, data: st.DataObject
) -> None:
    for name, values in FACTS.items():
        old = getattr(facts, name)
        other = data.draw(values.filter(lambda value, old=old: value != old), label=name)
        assert (replace(facts, **{name: other}).fingerprint != facts.fingerprint) == (name in RELEVANT), name
