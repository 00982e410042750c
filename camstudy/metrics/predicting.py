"""What a network predicts for a dataset, run as it is for explaining."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from camstudy.data.dataset import Dataset
from camstudy.explain.batches import in_batches, plain_float32
from camstudy.explain.embedding import cosines_with_others, embeddings
from camstudy.explain.layers import frozen
from camstudy.metrics.prediction import check_labels
from camstudy.models.inputs import prepare


def predict(model: nn.Module, inputs: Mapping, dataset: Dataset, batch_size: int) -> np.ndarray:
    """Return the logits of every image, float32 (n, classes), in plain float32 and evaluation mode.

    Items of the same image have the same logits: the network sees it once.

    Parameters
    ----------
    model : classifier on the device that does the work
    inputs : how images are prepared, from `camstudy.models.build.input_config`
    dataset : images and labels
    batch_size : images per pass; halved as often as the device runs out of memory

    Raises
    ------
    CamstudyError : the labels are not the model's classes, which is found with the first batch; memory does not suffice
        for one image.
    """
    device, labels, where = next(model.parameters()).device, dataset.labels, str(dataset.path)
    images, items = np.unique(dataset.sources, return_inverse=True)

    def work(part: slice, _: int) -> np.ndarray:
        # Neighbours as a slice, which stores read faster.
        chosen = part if len(images) == dataset.n else images[part]
        logits = model(prepare(dataset.images(chosen), inputs, device)).float().cpu().numpy()
        check_labels(labels, logits.shape[1], where)
        return logits

    with frozen(model), torch.inference_mode(), plain_float32(device):
        batches, _ = in_batches(work, len(images), batch_size, device)
    return np.concatenate(batches)[items]


def predict_by_means(network: nn.Module, inputs: Mapping, dataset: Dataset, batch_size: int) -> np.ndarray:
    """Return how near every image is to the classes, float32 (n, classes), of a network whose output is an embedding.

    These logits are cosines with the mean embedding of each class's images, without the image itself. Arguments and
    errors are those of `predict`; images without a label are refused.
    """
    found = embeddings(network, inputs, dataset, np.arange(dataset.n), batch_size)
    check_labels(dataset.labels, int(dataset.labels.max()) + 1, str(dataset.path))
    return cosines_with_others(found, dataset.labels)
