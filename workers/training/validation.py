"""The validation error between epochs: what `vgg-single-scale` would measure of the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ensembles import engine
from ensembles.class_orders import map_classes
from ensembles.errors import UnreadableImageError
from ensembles.metrics import top_k_error
from ensembles.networks import LoadedNetwork
from ensembles.protocols import PRESETS
from ensembles.scales import TrainingScale
from ensembles.specs import Preprocessing
from ensembles.vgg import VGG
from workers.image_data import DatasetImages


class Validation:
    """A validation set and the one view under which a network sees it.

    Raises:
        ClassNamesMismatchError: its classes are not those of the training set; their order may differ.
    """

    def __init__(
        self, dataset: DatasetImages, classes: Sequence[str], training_scale: TrainingScale, crop: int, threads: int
    ) -> None:
        self.dataset, self._threads = dataset, threads
        mapping = map_classes(classes, dataset.index.classes)
        self._outputs = None if mapping is None else np.array(mapping.outputs)
        (self._view,) = PRESETS["vgg-single-scale"].views(training_scale, crop)

    def top1_error(self, network: VGG, preprocessing: Preprocessing, device: torch.device) -> float:
        """Share of the images whose label is not the most probable class, 0..1; `network` is left in evaluation mode.

        Raises:
            UnreadableImageError: an image cannot be decoded.
            NonFiniteOutputError: a class score is NaN or infinite.
            DatasetChangedError: a file is not the one in the index.
        """
        loaded = LoadedNetwork("the network in training", network, preprocessing, device)
        (predicted,) = engine.predict([loaded], self.dataset.files, [self._view], decode_threads=self._threads)
        for image in predicted.unreadable:
            raise UnreadableImageError(image.image_id, image.reason)
        probs = predicted.probs if self._outputs is None else np.take(predicted.probs, self._outputs, axis=1)
        return top_k_error(probs, self.dataset.index.labels)
