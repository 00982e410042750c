"""From weights on disk to a network: before training with its variants to come, and after it ready to explain."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import verify
from camstudy.models.build import apply_variants, build_model, fold_variants
from camstudy.models.seeding import seeded
from camstudy.models.weights.checkpoints import load_weights


def includes_variant(entry: Mapping) -> bool:
    """Whether an entry's weights are those of the model with its variants, as published DCLS checkpoints are."""
    weights = entry["weights"]
    return isinstance(weights, Mapping) and bool(weights.get("include_variant"))


def weights_of(record: str | Path) -> Path:
    """Return the weights that lie beside the record of a model, or of weights to start from.

    Raises `Damaged` if they are gone, or are not those that the record describes.
    """
    return verify(Path(record).with_suffix(".safetensors"), record)


def initial_model(entry: Mapping, weights: str | Path | None, seed: int) -> nn.Module:
    """Return a catalogue model as training begins: architecture, starting weights and variants.

    ``weights`` is a checkpoint, or None to start at random, as the entry's ``weights`` says; ``seed`` draws what
    is random. Variants come last, so that one with ``init: preserve`` starts from the network that the weights
    belong to; unless the weights include them.
    """
    complete = includes_variant(entry)
    model = build_model(entry, variants=complete, seed=seed)
    if weights:
        load_weights(model, weights)
    elif entry["weights"] == "random_fan_in":
        with seeded(seed):
            draw_fan_in(model)
    return model if complete else apply_variants(model, entry, seed=seed)


def draw_fan_in(model: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers from N(0, 1 / fan-in), in place.

    timm's ConvNeXt and MetaFormer draw from N(0, 0.02^2), right for hundreds of channels; with dozens, each block
    would add next to nothing, and that linearly. Raises `CamstudyError` where a weight is computed from others.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if not isinstance(module.weight, nn.Parameter):
                raise CamstudyError(
                    f"weights: found random_fan_in, but the weight of `{name}` is computed, as weight normalization "
                    "does; take `random`"
                )
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")


def load_model(entry: Mapping, weights: str | Path) -> nn.Module:
    """Return a finished catalogue model for inference: variants applied, weights loaded, variants folded."""
    model = build_model(entry)
    load_weights(model, weights)
    return fold_variants(model, entry).eval()


def placed(model: nn.Module, device: torch.device | str) -> nn.Module:
    """Return a network that is only run, on its device and in the memory layout that is fast there.

    On a CPU channels last, as prepared images are: otherwise every convolution reorders its weights or its input at
    every pass. Logits and maps of the last layer change by 1e-6 of their size at most. On a GPU, where float32 without
    TF32 has other kernels, weights stay as they are.
    """
    model = model.to(device)
    return model.to(memory_format=torch.channels_last) if torch.device(device).type == "cpu" else model
