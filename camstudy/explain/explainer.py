"""One model explained by one method: what every step that explains has in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import Dataset
from camstudy.explain.embedding import Similarity, class_means
from camstudy.explain.engine import Explanation, explain
from camstudy.explain.layers import TargetLayer, resolve_target_layer
from camstudy.explain.methods import bind
from camstudy.explain.registry import BoundMethod
from camstudy.explain.targets import EMBEDDING, OF_LABELS, TARGETS, class_number
from camstudy.models.build import input_config
from camstudy.models.inputs import prepare, prepare_as_authors
from camstudy.models.load import load_model, placed
from camstudy.models.probabilities import Head, head_of


@dataclass(frozen=True)
class Explainer:
    """A model with a method that explains it.

    Parameters
    ----------
    model : classifier on the device that does the work
    layer : whose output is explained
    inputs : how images are prepared, from `camstudy.models.build.input_config`
    method : catalogue entry: registered ``method``, its ``parameters``, the ``target`` class, the ``geometry``
    head : what the model's logits mean
    """

    model: nn.Module
    layer: TargetLayer
    inputs: Mapping
    method: Mapping
    head: Head = "softmax"

    @classmethod
    def load(cls, entry: Mapping, method: Mapping, weights: str | Path, device: torch.device) -> "Explainer":
        """Return that of a model's and a method's catalogue entries, with finished weights."""
        model, inputs = placed(load_model(entry, weights), device), input_config(entry)
        layer = resolve_target_layer(model, entry["target_layer"], stage=method["stage"], size=inputs["size"])
        return cls(model, layer, inputs, method, head_of(entry))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def bound(self) -> BoundMethod:
        """The method with its parameters."""
        return bind(self.method["method"], self.method["parameters"])

    def labels(self, dataset: Dataset) -> np.ndarray:
        """Return the labels, int64 (n,), or of a method that explains a certain class its number for each image.

        That there are no labels is a `CamstudyError` where the method needs them, and so is a class of no such name.
        """
        number = class_number(self.method["target"], dataset.attrs.get("class_names"))
        if number is not None:
            return np.full(dataset.n, number, np.int64)
        if self.method["target"] in OF_LABELS and dataset.labels.min() < 0:
            name = self.method["method"]
            raise CamstudyError(
                f"{dataset.path}: has no labels to explain; set `target: predicted` for method `{name}`"
            )
        return dataset.labels

    def for_dataset(self, dataset: Dataset, batch_size: int) -> "Explainer":
        """Return this explainer, or of a method with `target: embedding` that of the cosines with a dataset's classes.

        The model's logits are then cosines (n, classes) with the mean embedding of each class's images.
        """
        if self.method["target"] != EMBEDDING:
            return self
        means = class_means(self.model, self.inputs, dataset, first=self.method["references"], batch_size=batch_size)
        return replace(self, model=Similarity(self.model, means))

    def prepare(self, images: np.ndarray | Sequence[np.ndarray]) -> Tensor:
        """Return images of a dataset as the model expects them, float32 (n, 3, s, s) on its device."""
        make = prepare_as_authors if self.method["geometry"] == "authors" else prepare
        return make(images, self.inputs, self.device)

    def explain(
        self,
        images: Tensor,
        labels: np.ndarray,
        *,
        numbers: Sequence[int],
        batch_size: int,
        targets: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Explanation]:
        """Return raw maps, float32 (n, h, w), and all else that `camstudy.explain.engine.explain` found.

        Parameters
        ----------
        images : prepared ones
        labels : integers (n,), of this explainer's `labels`
        numbers : the images' positions in the dataset
        batch_size : images per forward pass, which the maps do not depend on
        targets : classes to explain instead of those that the method says
        """
        name = self.method["method"]
        found = explain(
            self.model,
            self.layer,
            images,
            labels if targets is None else targets,
            {name: self.bound},
            target=self.method["target"] if targets is None and self.method["target"] in TARGETS else "label",
            batch_size=batch_size,
            mean=self.inputs["mean"],
            std=self.inputs["std"],
            numbers=numbers,
            head=self.head,
        )
        return found.maps[name], found
