"""Models on the way from weights on disk to training, and from training to inference; their record."""

import json

import pytest
import torch
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import sha256_file
from camstudy.models.build import build_model
from camstudy.models.load import draw_fan_in, initial_model, load_model
from camstudy.models.record import model_record
from camstudy.models.variants import dcls
from camstudy.models.weights.checkpoints import save_model

torch.set_num_threads(1)

PRESERVED = {"replace": "depthwise", "kernel_size": 9, "kernel_count": 49, "init": "preserve"}
RANDOM = {"replace": "depthwise", "kernel_size": 9, "kernel_count": 5, "version": "v1", "init": "random"}
ENTRY = {
    "arch": "timm.models.convnext.ConvNeXt",
    "kwargs": {"depths": [1, 1, 2, 1], "dims": [16, 24, 32, 40], "ls_init_value": None},
    "num_classes": 5,
    "weights": "random",
    "variant": {},
}


def with_dcls(**params) -> dict:
    return ENTRY | {"variant": {"dcls": params}}


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def baseline() -> nn.Module:
    """A network far from its initial weights, so that what is lost in loading is seen in its logits."""
    model = initial_model(ENTRY | {"weights": "random_fan_in"}, None, seed=5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    return model.eval()


@pytest.fixture(scope="module")
def weights(baseline, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "baseline.safetensors"
    save_model(baseline, path)
    return path


def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(images)


def test_random_weights_are_those_of_the_architecture_and_the_seed():
    model, expected = initial_model(ENTRY, None, seed=3), build_model(ENTRY, seed=3)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name]), name
    other = initial_model(ENTRY, None, seed=4)
    assert not torch.equal(model.stem[0].weight, other.stem[0].weight)
    # timm's own: N(0, 0.02^2), truncated, for every layer alike
    assert model.head.fc.weight.std().item() == pytest.approx(0.02, rel=0.2)


def test_fan_in_weights_have_variance_one_over_fan_in():
    model = nn.Sequential(
        nn.Conv2d(32, 64, 3), nn.Conv2d(512, 512, 7, groups=512), nn.Linear(200, 100), nn.BatchNorm2d(8)
    )
    torch.manual_seed(0)
    draw_fan_in(model)
    for layer, fan_in in zip(model[:3], (32 * 9, 49, 200), strict=True):
        assert layer.weight.mean().abs() < 0.02
        assert layer.weight.var().item() * fan_in == pytest.approx(1, rel=0.05)
    assert (model[3].weight == 1).all()


def test_fan_in_weights_come_from_the_seed_and_leave_the_generator_alone():
    entry = ENTRY | {"weights": "random_fan_in"}
    state = torch.get_rng_state()
    first, second = (initial_model(entry, None, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert not torch.equal(first.stem[0].weight, initial_model(entry, None, seed=4).stem[0].weight)
    assert first.stem[0].weight.var().item() * 48 == pytest.approx(1, rel=0.2)
    assert (first.stem[0].bias == 0).all()


def test_weights_of_a_file(baseline, weights, images):
    assert torch.equal(logits(initial_model(ENTRY, weights, seed=9), images), logits(baseline, images))


def test_a_file_overrules_random_weights_of_the_entry(baseline, weights, images):
    entry = ENTRY | {"weights": "random_fan_in"}
    assert torch.equal(logits(initial_model(entry, weights, seed=9), images), logits(baseline, images))


def test_a_file_of_another_architecture_is_refused(weights):
    with pytest.raises(CamstudyError, match=r"baseline\.safetensors: the weights do not fit[^?]*`num_classes: 5`"):
        initial_model(ENTRY | {"num_classes": 7}, weights, seed=0)


@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize("count", [49, 60])
def test_preserving_dcls_starts_as_the_same_function(baseline, weights, images, version, count):
    entry = with_dcls(**PRESERVED | {"version": version, "kernel_count": count})
    model = initial_model(entry, weights, seed=0)
    assert len(list(dcls.dcls_layers(model))) == 5
    expected = logits(baseline, images)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits(model, images), expected, atol=1e-4, rtol=1e-4)


def test_preserving_is_done_after_loading(baseline, weights, images):
    """Random positions, in contrast, lose the function; so would a variant that is applied to random weights."""
    expected = logits(baseline, images)
    for other in (
        initial_model(with_dcls(**RANDOM), weights, seed=0),
        initial_model(with_dcls(**PRESERVED | {"version": "v0"}), None, seed=0),
    ):
        assert (logits(other, images) - expected).abs().max() > 0.1


@pytest.mark.parametrize("version", ["v0", "v1", "gauss"])
def test_a_finished_dcls_model_comes_back_folded(tmp_path, images, version):
    entry = with_dcls(**RANDOM | {"version": version})
    trained = initial_model(entry, None, seed=0)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    save_model(trained, tmp_path / "model.safetensors")
    model = load_model(entry, tmp_path / "model.safetensors")
    assert not model.training
    assert list(dcls.dcls_layers(model)) == []
    expected = logits(trained, images)
    torch.testing.assert_close(logits(model, images), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(CamstudyError, match="made with DCLS version"):
        load_model(with_dcls(**RANDOM | {"version": "v0" if version == "v1" else "v1"}), tmp_path / "model.safetensors")


def test_the_record_says_what_the_model_is(tmp_path):
    entry = with_dcls(**RANDOM | {"version": "v1"})
    model = initial_model(entry, None, seed=0)
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    training = {"dataset": "digits", "seed": 0, "epoch": 2, "loss": 0.5}
    record = json.loads(json.dumps(model_record(model, entry, "code=train:1", path, training)))
    assert record["entry"] == entry
    assert record["sha256"] == sha256_file(path)
    assert record["training"] == training
    assert record["versions"].keys() == {"torch", "timm", "DCLS"}
    assert record["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    # Positions of the third stage are counted once, though two layers have them.
    plain = sum(p.numel() for p in build_model(ENTRY).parameters())
    channels = (16, 24, 32, 32, 40)
    removed, weights, positions = 49 * sum(channels), 5 * sum(channels), 10 * (16 + 24 + 32 + 40)
    assert record["parameters"] == plain - removed + weights + positions


def test_the_record_of_a_model_that_was_not_trained(tmp_path):
    model = initial_model(ENTRY, None, seed=0)
    save_model(model, tmp_path / "model.safetensors")
    assert model_record(model, ENTRY, "code=assemble_model:1", tmp_path / "model.safetensors")["training"] is None
