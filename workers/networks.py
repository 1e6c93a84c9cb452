"""Networks in memory: loaded once, kept while they fit, checked against their registered sha256 when read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from app.services.leasing.slices import LeasedPart
from ensembles import networks as library
from ensembles.architectures import architecture_from_dict
from ensembles.checkpoints import Checkpoint
from ensembles.networks import LoadedNetwork
from ensembles.specs import Preprocessing

_Key = tuple[str, str, str]


class NetworkCache:
    """The networks used last, bounded in number and bytes."""

    def __init__(self, device: torch.device, max_bytes: int, max_networks: int = 64) -> None:
        self._device, self._max_bytes, self._max_networks = device, max_bytes, max_networks
        self._networks: OrderedDict[_Key, LoadedNetwork] = OrderedDict()

    def get(self, part: LeasedPart) -> LoadedNetwork:
        """The network of a part's checkpoint.

        Raises:
            CheckpointError: the file is not the registered one, or is none.
            OSError: it cannot be read.
        """
        key = _key(part)
        network = self._networks.get(key)
        if network is None:
            self._make_room(weight_bytes(part))
            network = self._networks[key] = library.load(_checkpoint(part), self._device)
        self._networks.move_to_end(key)
        return network

    def groups(self, parts: Sequence[LeasedPart]) -> Iterator[list[LeasedPart]]:
        """Cut parts into runs whose networks fit into memory together; parts of one checkpoint stay together."""
        group: list[LeasedPart] = []
        sizes: dict[_Key, int] = {}
        for part in sorted(parts, key=_key):
            key = _key(part)
            if key not in sizes and group and not self._fits(sum(sizes.values()) + weight_bytes(part), len(sizes) + 1):
                yield group
                group, sizes = [], {}
            group.append(part)
            sizes[key] = weight_bytes(part)
        if group:
            yield group

    def clear(self) -> None:
        """Drop every network, as after an out-of-memory error."""
        self._networks.clear()

    def _make_room(self, wanted: int) -> None:
        while self._networks and not self._fits(self._held_bytes() + wanted, len(self._networks) + 1):
            self._networks.popitem(last=False)

    def _fits(self, size: int, count: int) -> bool:
        return size <= self._max_bytes and count <= self._max_networks

    def _held_bytes(self) -> int:
        return sum(4 * network.architecture.parameters for network in self._networks.values())


def weight_bytes(part: LeasedPart) -> int:
    """Of a part's network in float32."""
    return 4 * architecture_from_dict(part.architecture).parameters


def _key(part: LeasedPart) -> _Key:
    # The name is part of it, since errors of the engine name the network.
    return part.checkpoint_id, part.checkpoint_name, part.checkpoint_sha256


def _checkpoint(part: LeasedPart) -> Checkpoint:
    return Checkpoint(
        path=Path(part.checkpoint_path),
        sha256=part.checkpoint_sha256,
        architecture=architecture_from_dict(part.architecture),
        preprocessing=Preprocessing.from_dict(part.preprocessing),
        name=part.checkpoint_name,
    )
