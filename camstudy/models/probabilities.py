"""What logits mean: classes that exclude each other (softmax), or of which an image can have several (sigmoid)."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

Head = Literal["softmax", "sigmoid"]


def head_of(entry: Mapping) -> Head:
    """Return what the logits of a catalogue's model mean; cosines of embeddings are taken for a softmax's."""
    return "softmax" if embeds(entry) else entry.get("head", "softmax")


def embeds(entry: Mapping) -> bool:
    """Return whether the output of a catalogue's model is an embedding instead of logits."""
    return entry.get("head") == "embedding"


def probabilities(logits: Tensor, head: Head = "softmax") -> Tensor:
    """Return probabilities (n, classes) of logits: of each class, which sum to 1 (softmax) or do not (sigmoid)."""
    return logits.softmax(1) if head == "softmax" else logits.sigmoid()


def log_probabilities(logits: Tensor, head: Head = "softmax") -> Tensor:
    """Return the logarithms of `probabilities`, exact where these are next to 0."""
    return logits.log_softmax(1) if head == "softmax" else F.logsigmoid(logits)


def is_predicted(logits: Tensor, labels: Tensor, head: Head = "softmax") -> Tensor:
    """Return whether the labels (n,) are predicted, bool (n,): the first of all classes, or more probable than not."""
    if head == "softmax":
        return logits.argmax(1) == labels
    return logits.gather(1, labels[:, None])[:, 0] > 0
