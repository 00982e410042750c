"""Model-parameter randomisation: scipy's correlations, the order of the parts, and a model left as it was."""

import numpy as np
import pytest
import scipy.stats
import timm
import torch
from torch import nn

from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import bind
from camstudy.metrics.randomization import cascade, randomize, randomize_from_top
from camstudy.metrics.registry import score_family
from camstudy.metrics.sanity import step_correlation

torch.set_num_threads(1)

RNG = np.random.default_rng(0)
SIZE = 32


def net() -> nn.Module:
    torch.manual_seed(0)
    kwargs = {"layers": [1, 1, 2, 1], "channels": [4, 6, 8, 10], "stem_width": 4, "num_classes": 4, "output_stride": 8}
    model = timm.models.resnet.ResNet(block=timm.models.resnet.BasicBlock, **kwargs)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.weight.data.uniform_(0.5, 1.5)
    return model.eval()


IMAGES = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def gradcam(model: nn.Module) -> np.ndarray:
    layer = resolve_target_layer(model, size=SIZE)
    return explain(model, layer, IMAGES, np.arange(3), {"m": bind("gradcam", {})}).maps["m"]


def brightness(model: nn.Module) -> np.ndarray:
    """A map that says nothing about the model."""
    return IMAGES.mean(1).numpy()


@pytest.mark.parametrize("absolute", [False, True])
def test_correlations_equal_scipys(absolute):
    first, second = np.round(RNG.standard_normal((2, 5, 6, 7)), 1).astype(np.float32)
    expected = [
        scipy.stats.spearmanr(*((np.abs(one), np.abs(two)) if absolute else (one, two)), axis=None).statistic
        for one, two in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(step_correlation(first, second, absolute=absolute), expected, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 2.0, np.nan, np.inf])
def test_degenerate_maps_count_zero_and_leave_others_alone(value):
    maps = RNG.standard_normal((3, 5, 5)).astype(np.float32)
    broken = maps.copy()
    broken[1] = value
    assert step_correlation(maps, broken).tolist() == [1, 0, 1]
    assert step_correlation(broken, maps, absolute=True).tolist() == [1, 0, 1]


def test_scores_are_means_over_steps():
    evidence = {"step_correlation": np.array([[1, 0.5, 0], [0, -1, -0.5]]), "step_correlation_absolute": np.eye(2)}
    scores = score_family("sanity", evidence)
    assert scores["randomization_spearman"].tolist() == [0.5, -0.5]
    assert scores["randomization_spearman_absolute"].tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="correlations"):
        score_family("sanity", {"step_correlation": np.array([[1.5]])})


def test_the_metrics_that_are_listed_are_computed_in_their_order():
    evidence = {"step_correlation": np.eye(2), "step_correlation_absolute": np.eye(2)}
    names = ["randomization_spearman_absolute", "randomization_spearman"]
    assert list(score_family("sanity", evidence, metrics=names)) == names
    # What is not asked for is not computed: this would raise.
    evidence["step_correlation"] = np.array([[1.5]])
    assert list(score_family("sanity", evidence, metrics=names[:1])) == names[:1]


def test_parts_come_from_the_top():
    model = net()
    assert list(cascade(model, size=SIZE, max_steps=7)) == [
        *("fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"),
    ]
    assert list(cascade(model, size=SIZE, max_steps=8))[1:5] == ["layer4", "layer3.1", "layer3.0", "layer2"]
    assert list(cascade(model, size=SIZE, max_steps=1)) == ["ResNet"]


def test_parts_of_several_modules_are_named_by_the_first_and_the_last():
    model = net()
    parts = cascade(model, size=SIZE, max_steps=3)
    assert list(parts) == ["fc to layer3", "layer2 to layer1", "bn1 to conv1"]
    # What a name says is in it: by far the most of the network, here.
    first = parts["fc to layer3"]
    assert {name.partition(".")[0] for name in first} == {"fc", "layer4", "layer3"}
    vit = timm.create_model("vit_tiny_patch16_224")
    assert list(cascade(vit, size=224, max_steps=5)) == [
        *("head", "norm", "blocks", "patch_embed", "cls_token to pos_embed"),
    ]


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 1000])
@pytest.mark.parametrize("name", ["resnet", "vit_tiny_patch16_224", "convnext_atto", "fastvit_t8"])
def test_every_parameter_is_in_one_part(name, steps):
    model = net() if name == "resnet" else timm.create_model(name)
    parts = cascade(model, size=SIZE if name == "resnet" else 224, max_steps=steps)
    assert 1 <= len(parts) <= steps
    together = [parameter for names in parts.values() for parameter in names]
    assert sorted(together) == sorted(dict(model.named_parameters()))
    if steps > 2:
        assert any("head" in parameter or "fc." in parameter for parameter in next(iter(parts.values())))
        lowest = ("conv1", "bn1", "patch_embed", "stem", "pos_embed")
        assert any(parameter.startswith(lowest) for parameter in list(parts.values())[-1])


def test_order_is_that_of_the_forward_pass():
    class Upside(nn.Module):
        """Its modules are registered from the last to the first, and one lies in a list."""

        def __init__(self) -> None:
            super().__init__()
            self.head, self.blocks = nn.Linear(4, 2), nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)])
            self.stem = nn.Conv2d(3, 4, 1)
            self.position = nn.Parameter(torch.randn(1, 4, 1, 1))

        def forward(self, x):
            x = self.stem(x) + self.position
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean((2, 3)))

    model = Upside()
    assert list(cascade(model, size=8, max_steps=4)) == ["head", "blocks", "stem", "position"]
    assert list(cascade(model, size=8, max_steps=5)) == ["head", "blocks.1", "blocks.0", "stem", "position"]
    assert not any(module._forward_hooks for module in model.modules())


def test_random_weights_keep_their_scale_and_follow_from_the_seed():
    model, again, other = net(), net(), net()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    names = ["layer4.0.conv1.weight", "fc.weight"]
    randomize(model, names, 0)
    randomize(again, names[::-1], 0)
    randomize(other, names, 1)
    for name, parameter in model.named_parameters():
        if name not in names:
            assert torch.equal(parameter, before[name])
            continue
        old = before[name].detach()
        assert torch.equal(parameter, again.get_parameter(name))
        assert not torch.equal(parameter, other.get_parameter(name))
        assert abs(np.corrcoef(parameter.detach().flatten(), old.flatten())[0, 1]) < 0.5
        assert parameter.std().item() == pytest.approx(old.std().item(), rel=0.3)


def test_steps_are_cumulative_and_the_model_comes_back():
    model, seen = net(), []
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def look(model):
        changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
        seen.append(changed)
        return gradcam(model)

    names, evidence = randomize_from_top(model, look, size=SIZE, max_steps=7)
    parts = cascade(model, size=SIZE, max_steps=7)
    assert names == list(parts)
    assert seen[0] == set()
    for step, changed in enumerate(seen[1:]):
        upper = {name for part in names[: step + 1] for name in parts[part]}
        # Biases that are all zero have nothing to draw from.
        constant = {name for name in upper if before[name].std(correction=0) == 0}
        assert changed == upper - constant
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {values.shape for values in evidence.values()} == {(3, 7)}
    repeated, _ = randomize_from_top(model, gradcam, size=SIZE, max_steps=7)[1], None
    np.testing.assert_array_equal(evidence["step_correlation"], repeated["step_correlation"])


def test_the_model_comes_back_after_an_error():
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    calls = []

    def fail(model):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("stop")
        return brightness(model)

    with pytest.raises(RuntimeError, match="stop"):
        randomize_from_top(model, fail, size=SIZE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_maps_of_the_image_fail_the_check_and_maps_of_the_model_pass():
    model = net()
    _, image = randomize_from_top(model, brightness, size=SIZE, max_steps=4)
    assert (image["step_correlation"] == 1).all()
    _, gradient = randomize_from_top(model, gradcam, size=SIZE, max_steps=4)
    assert score_family("sanity", gradient)["randomization_spearman"].max() < 0.8
