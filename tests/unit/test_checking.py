"""What is found out of a network before it has weights: each mistake is told, and good networks are described."""

import re

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.explain.checking import check_network
from camstudy.models.adapting import needs_output

torch.set_num_threads(1)
SIDE, CLASSES = 16, 5
RESNET = {"block": "import:timm.models.resnet.BasicBlock", "layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}


class Net(nn.Module):
    """A convolution, a norm and a classifier, with one fault."""

    def __init__(self, num_classes: int = CLASSES, fault: str = "") -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.norm = nn.BatchNorm2d(6, track_running_stats=fault != "batch statistics")
        self.fc = nn.Linear(6 * 64 if fault == "one size" else 6, num_classes)
        self.fault = fault

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fault = self.fault
        if fault == "mean of the batch":
            # Without any gradient from image to image.
            x = x + x.detach().mean(0)
        x = self.norm(self.conv(x)).relu()
        if fault == "noise":
            x = x + torch.rand_like(x)
        pooled = x.flatten(1) if fault == "one size" else x.mean((2, 3))
        logits = self.fc(pooled.detach() if fault == "detached" else pooled)
        if fault == "bug":
            return logits + self.missing
        return {"logits": logits} if fault == "no tensor" else logits


def entry(**stated: object) -> dict:
    """Return a complete catalogue entry of the network of this file."""
    default = {"kwargs": {}, "variant": {}, "train": None, "target_layer": None, "num_classes": CLASSES}
    return default | {"arch": f"{__name__}.Net", "input": {"size": SIDE}} | stated


def test_a_network_is_described():
    assert check_network(
        entry(train={"label_smoothing": 0, "positions": {"repulsive_loss": False}, "backward": "plain"})
    ) == {
        "network": "Net",
        "parameters": 6 * 27 + 6 + 12 + CLASSES * 6 + CLASSES,
        "classes": CLASSES,
        "input_size": SIDE,
        "layer": {"path": "norm", "layout": "nchw", "shape": [6, 8, 8]},
        "stages": [],
    }


def test_stages_are_told_with_their_shapes():
    found = check_network(entry(arch="timm.models.resnet.ResNet", kwargs=RESNET, input={"size": 32}))
    assert found["layer"] == {"path": "layer4", "layout": "nchw", "shape": [16, 1, 1]}
    assert found["stages"] == [[8, 8, 8], [8, 4, 4], [16, 2, 2], [16, 1, 1]]


def test_tokens_have_the_shape_of_their_positions():
    kwargs = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 2}
    arch = "timm.models.vision_transformer.VisionTransformer"
    found = check_network(entry(arch=arch, kwargs=kwargs))
    assert found["layer"] == {"path": "blocks.1.norm1", "layout": "tokens", "shape": [12, 4, 4]}


def test_variants_are_in_it():
    variant = {"dcls": {"replace": "conv3x3", "kernel_size": 5, "kernel_count": 3, "version": "v1", "init": "random"}}
    stated = {"arch": "timm.models.resnet.ResNet", "kwargs": RESNET, "input": {"size": 32}}
    plain, changed = check_network(entry(**stated)), check_network(entry(**stated, variant=variant))
    assert changed["parameters"] != plain["parameters"]
    assert changed["stages"] == plain["stages"]


MISTAKES = [
    ({"arch": "resnet_of_mine"}, "resnet_of_mine"),
    ({"arch": f"{__name__}.Nett"}, "did you mean"),
    ({"kwargs": {"fualt": ""}}, "keyword argument .*`fualt`.*`fault`"),
    ({"target_layer": "convv"}, "target_layer: Net has no module `convv`; near or top-level: `conv`"),
    ({"target_layer": "fc"}, "target_layer `fc`: its output must be 4-D"),
    ({"kwargs": {"fault": "one size"}, "input": {"size": 32}}, r"input\.size: .*cannot take images of 32x32 pixels"),
    (
        {"arch": "vit_tiny_patch16_224", "input": {"size": 112}},
        r"input\.size: .*112x112 .*model \(224\).*patch_embed\.py",
    ),
    (
        {"kwargs": {"fault": "no tensor"}},
        r"num_classes: .*a dict with `logits` in evaluation mode .*logits \(2, 5\)",
    ),
    ({"kwargs": {"fault": "bug"}}, r"AttributeError: .*'missing'.*test_checking\.py, line \d+"),
    (
        {"kwargs": {"fault": "detached"}},
        r"target_layer `norm`: the logits do not depend on it|cannot be differentiated",
    ),
    ({"kwargs": {"fault": "batch statistics"}}, "changes with the other images of its batch"),
    ({"kwargs": {"fault": "mean of the batch"}}, "changes with the other images of its batch"),
    ({"kwargs": {"fault": "noise"}}, "differ from pass to pass in evaluation mode"),
]


@pytest.mark.parametrize(("stated", "told"), MISTAKES, ids=[str(stated) for stated, _ in MISTAKES])
def test_mistakes_are_told_in_a_line(stated, told):
    with pytest.raises(CamstudyError) as error:
        check_network(entry(**stated))
    message = str(error.value)
    assert re.search(told, message), message
    assert "\n" not in message


def test_another_number_of_classes_is_told():
    with pytest.raises(CamstudyError, match=r"num_classes: .*returns a tensor \(2, 3\).*expected logits \(2, 5\)"):
        check_network(entry(arch=f"{__name__}.three_classes", kwargs={}))


def three_classes(num_classes: int) -> nn.Module:
    """Return a network that does not heed the number of classes."""
    return Net(3)


class Recomputed(nn.Module):
    """A network with gradient checkpointing."""

    def __init__(self, num_classes: int, again: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU()
        self.fc, self.again = nn.Linear(8, num_classes), again

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        part = nn.Sequential(self.conv, self.norm, self.relu)
        return self.fc(torch.utils.checkpoint.checkpoint(part, x, use_reentrant=self.again).mean((2, 3)))


class Branches(nn.Module):
    """Two branches of which forward makes a sum, or one after the other."""

    def __init__(self, num_classes: int, two: bool) -> None:
        super().__init__()
        self.stem, self.fc, self.two = nn.Conv2d(3, 8, 3, 4, 1), nn.Linear(8, num_classes), two
        self.one, self.other = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = self.stem(x)
        x = self.one(x) + self.other(x) if self.two else self.other(self.one(x))
        return self.fc(x.relu().mean((2, 3)))


@pytest.mark.parametrize("returned", [None, "x", np.zeros((2, 5)), 0.5])
def test_what_holds_no_logits_is_told(returned):
    assert needs_output(returned) == "let its forward pass return the logits, a tensor of torch"
    assert needs_output([returned]).startswith("say where the logits are")


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("again", [False, True])
def test_layers_that_are_recomputed_are_told(again):
    with pytest.raises(CamstudyError, match=r"^arch: Recomputed recomputes a part of its forward pass for gradients"):
        check_network(entry(arch=f"{__name__}.Recomputed", kwargs={"again": again}, target_layer="conv"))


def test_branches_beside_the_default_layer_are_told(capsys):
    two = {"arch": f"{__name__}.Branches", "kwargs": {"two": True}}
    assert check_network(entry(**two))["layer"]["path"] == "other"
    assert "The default layer of Branches, `other`, does not have all that the logits" in capsys.readouterr().out
    check_network(entry(**two, target_layer="other"))
    check_network(entry(**two | {"kwargs": {"two": False}}))
    assert capsys.readouterr().out == ""
