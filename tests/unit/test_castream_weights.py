"""Weights of CA-Streams: the authors' names load strictly into the same function, anything less is refused."""

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig

from camstudy.core.errors import CamstudyError
from camstudy.models.build import build_model
from camstudy.models.weights.checkpoints import load_weights, save_model

torch.set_num_threads(1)

CLASSES = 5


class Attention(nn.Module):
    """A block as the authors name its parts."""

    def __init__(self, width: int, after: int) -> None:
        super().__init__()
        self.to_out = nn.Sequential(nn.Flatten(1), nn.Linear(width, after), nn.Dropout(0.0))

    def forward(self, features, token):
        attention = torch.einsum("nc,nchw->nhw", token, features) / features.shape[1] ** 0.5
        attention = attention.flatten(1).softmax(1).reshape(attention.shape)
        return self.to_out(torch.einsum("nhw,nchw->nc", attention, features))


class AuthorsResNet(torchvision.models.ResNet):
    """ResNet-18 with the stream, its modules and names as in the released code."""

    def __init__(self) -> None:
        super().__init__(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=CLASSES)
        self.cls_token = nn.Parameter(1 + torch.randn(1, 1, 64))
        self.base, self.l1 = Attention(64, 64), Attention(64, 128)
        self.l2, self.l3, self.l4 = Attention(128, 256), Attention(256, 512), Attention(512, 512)

    def forward(self, x):
        token = self.cls_token[:, 0].expand(len(x), -1)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        token = self.base(x, token)
        for layer, block in (
            (self.layer1, self.l1),
            (self.layer2, self.l2),
            (self.layer3, self.l3),
            (self.layer4, self.l4),
        ):
            x = layer(x)
            token = block(x, token)
        return self.fc(token)


SETTINGS = [CNBlockConfig(8, 12, 1), CNBlockConfig(12, 16, 1), CNBlockConfig(16, 20, 2), CNBlockConfig(20, None, 1)]


def plain_convnext(num_classes: int) -> nn.Module:
    return torchvision.models.ConvNeXt(SETTINGS, num_classes=num_classes)


class AuthorsConvNeXt(torchvision.models.ConvNeXt):
    """A small ConvNeXt with the stream as in the released code."""

    def __init__(self) -> None:
        super().__init__(SETTINGS, num_classes=CLASSES)
        self.cls_token = nn.Parameter(1 + torch.randn(1, 1, 8))
        self.cls_stream = nn.Sequential(*(Attention(*pair) for pair in ((8, 12), (12, 16), (16, 20), (20, 20))))

    def forward(self, x):
        token = self.cls_token[:, 0].expand(len(x), -1)
        blocks = iter(self.cls_stream)
        for number, part in enumerate(self.features):
            x = part(x)
            if number in (0, 2, 4, 7):
                token = next(blocks)(x, token)
        return self.classifier(token[..., None, None])


ENTRIES = {
    "resnet": ({"arch": "torchvision.models.resnet18"}, AuthorsResNet),
    "timm_resnet": ({"arch": "resnet18"}, AuthorsResNet),
    "convnext": ({"arch": "test_castream_weights.plain_convnext"}, AuthorsConvNeXt),
}


def made(name: str) -> tuple[nn.Module, nn.Module]:
    """Return the authors' model and ours, with weights of its own."""
    entry, authors = ENTRIES[name]
    torch.manual_seed(0)
    theirs = authors().train()
    with torch.no_grad():
        theirs(torch.randn(4, 3, 64, 64))
    return theirs.eval(), build_model(entry | {"num_classes": CLASSES, "variant": {"castream": {}}}, seed=1).eval()


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("prefix", ["", "module.", "module.base_model."])
def test_a_checkpoint_in_the_authors_layout_gives_the_logits_of_the_network_that_it_was_made_from(
    tmp_path, name, prefix
):
    theirs, ours = made(name)
    torch.save({f"{prefix}{key}": value for key, value in theirs.state_dict().items()}, tmp_path / "best_model.pth")
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(images)
        assert not torch.allclose(ours(images), expected, atol=0.1)
        load_weights(ours, tmp_path / "best_model.pth")
        torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("start", [0, 2])
def test_what_was_saved_is_loaded(tmp_path, start):
    entry = {"arch": "resnet18", "num_classes": CLASSES, "variant": {"castream": {"start": start}}}
    first, second = (build_model(entry, seed=seed).eval() for seed in (0, 1))
    save_model(first, tmp_path / "model.safetensors")
    load_weights(second, tmp_path / "model.safetensors")
    with torch.no_grad():
        images = torch.randn(2, 3, 64, 64)
        assert torch.equal(first(images), second(images))


def lacking(state, *parts: str):
    return {name: tensor for name, tensor in state.items() if not any(name.startswith(part) for part in parts)}


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        (["l3"], r"2 missing: stream\.blocks\.3\.out\.weight; stream\.blocks\.3\.out\.bias"),
        (["cls_token"], r"1 missing: stream\.token"),
        (["base", "l1", "l2", "l3", "l4", "cls_token"], r"11 missing: stream\.token.*has no stream.*train the stream"),
        (["fc"], r"2 missing: fc\.weight; fc\.bias"),
    ],
)
def test_a_partial_or_absent_stream_is_refused(tmp_path, absent, expected):
    theirs, ours = made("resnet")
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    torch.save(lacking(theirs.state_dict(), *absent), tmp_path / "part.pth")
    with pytest.raises(CamstudyError, match=f"(?s){expected}"):
        load_weights(ours, tmp_path / "part.pth")
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_stream_of_another_placement_is_refused(tmp_path):
    theirs, _ = made("resnet")
    torch.save(theirs.state_dict(), tmp_path / "whole.pth")
    later = build_model({"arch": "resnet18", "num_classes": CLASSES, "variant": {"castream": {"start": 2}}})
    with pytest.raises(CamstudyError, match=r"(?s)unexpected: .*of another shape.*`stream\.token` is \(1, 64\)"):
        load_weights(later, tmp_path / "whole.pth")


def test_a_file_with_a_stream_is_no_file_of_the_network_alone(tmp_path):
    entry = {"arch": "resnet18", "num_classes": CLASSES}
    changed = build_model(entry | {"variant": {"castream": {}}})
    safetensors.torch.save_file(changed.state_dict(), tmp_path / "stream.safetensors")
    with pytest.raises(
        CamstudyError, match=r"(?s)11 unexpected: stream\.blocks.*include_variant: true.*variant\.castream"
    ):
        load_weights(build_model(entry), tmp_path / "stream.safetensors")
