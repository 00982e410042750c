"""Gradients at the image: cosine, variation and energy against plain loops, and the family on a network."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from stores import INPUT, names_of, squares, write_store

from camstudy.core.parts import read_scores
from camstudy.metrics.families import METRICS
from camstudy.metrics.gradients import gradient_cosine, gradient_energy, gradient_variation
from camstudy.metrics.run import score
from camstudy.metrics.scoring import FAMILIES, Work
from camstudy.models.build import build_model
from camstudy.models.inputs import prepare
from camstudy.models.weights.checkpoints import save_model
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate
from camstudy.study.study import Study

torch.set_num_threads(1)
RNG = np.random.default_rng(0)


def test_cosine_is_that_of_flattened_gradients():
    first, second = RNG.normal(size=(2, 4, 3, 5, 6))
    expected = [
        a.ravel() @ b.ravel() / np.sqrt((a**2).sum() * (b**2).sum()) for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(gradient_cosine(first, second), expected, rtol=1e-12)
    np.testing.assert_allclose(gradient_cosine(first, -3 * first), -1)
    np.testing.assert_array_equal(gradient_cosine(first, 0 * second), 0)
    with pytest.raises(ValueError, match="of one shape"):
        gradient_cosine(first, second[:, :, :4])
    with pytest.raises(ValueError, match="channels, h, w"):
        gradient_cosine(first[:, 0], second[:, 0])


def test_variation_is_the_sum_over_neighbours_relative_to_the_size():
    gradient = RNG.normal(size=(3, 3, 4, 6))
    for values, found in zip(gradient, gradient_variation(gradient), strict=True):
        total = 0.0
        for channel, row, column in np.ndindex(values.shape):
            for other in ((channel, row + 1, column), (channel, row, column + 1)):
                if other[1] < 4 and other[2] < 6:
                    total += abs(values[channel, row, column] - values[other])
        assert found == pytest.approx(total / np.abs(values).sum())
    assert gradient_variation(np.ones((1, 3, 8, 8)))[0] == 0
    board = np.indices((40, 40)).sum(0) % 2 * 2.0 - 1
    assert gradient_variation(board[None, None])[0] == pytest.approx(4 * 39 / 40)
    assert gradient_variation(RNG.normal(size=(1, 3, 200, 200)))[0] == pytest.approx(2 * 2**0.5, abs=0.05)
    # The scale of a gradient plays no part.
    np.testing.assert_allclose(gradient_variation(1e-5 * gradient), gradient_variation(gradient))


def test_energy_is_the_share_of_the_highest_tenth_of_the_pixels():
    gradient = RNG.normal(size=(3, 3, 5, 6))
    for values, found in zip(gradient, gradient_energy(gradient), strict=True):
        pixels = sorted(((values[:, y, x] ** 2).sum() for y, x in np.ndindex(5, 6)), reverse=True)
        assert found == pytest.approx(sum(pixels[:3]) / sum(pixels))
    assert gradient_energy(np.ones((1, 3, 10, 10)))[0] == pytest.approx(0.1)
    spot = np.zeros((1, 3, 10, 10))
    spot[0, 1, 3, 3] = -2
    assert gradient_energy(spot)[0] == 1


def test_of_a_gradient_of_zeros_there_is_no_share():
    zeros = np.zeros((1, 3, 4, 4))
    assert np.isnan(gradient_variation(zeros)).all()
    assert np.isnan(gradient_energy(zeros)).all()
    assert METRICS["gradient_variation"].partial
    assert METRICS["gradient_energy"].partial


ENTRY = {
    "arch": "timm.models.resnet.ResNet",
    "kwargs": {
        "block": "import:timm.models.resnet.BasicBlock",
        "layers": [1, 1, 1, 1],
        "channels": [4, 6, 8, 12],
        "stem_width": 8,
    },
    "num_classes": 3,
    "input": INPUT,
    "variant": {},
    "seed": 0,
}


@pytest.mark.parametrize("of", ["loss", "logit"])
def test_the_family_scores_the_gradients_of_a_network(tmp_path, of):
    """The ordinary one is autograd's; the guided one that of hooks that stop negative signals at every ReLU."""
    store = write_store(tmp_path / "data.json", *squares(5))
    model = build_model(ENTRY, seed=0).eval()
    save_model(model, tmp_path / "model.safetensors", {})
    settings = {"family": "gradients", "metrics": ["gradient_cosine", "gradient_energy"], "of": of}
    records = {"model": tmp_path / "model.json"}
    records["model"].write_text('{"identity": ""}')
    work = Work(FAMILIES["gradients"], settings, store, None, {}, ENTRY, records, torch.device("cpu"), batch_size=2)
    (path,) = score(work, tmp_path / "scores.parquet")
    found = read_scores([path])

    images, labels = prepare(store.images(), INPUT), torch.from_numpy(store.labels)
    pairs = []
    for rule in (lambda signal: None, lambda signal: (signal[0].clamp(min=0),)):
        handles = []
        for module in model.modules():
            if isinstance(module, torch.nn.ReLU):
                module.inplace = False
                handles.append(module.register_full_backward_hook(lambda _m, inputs, _o, rule=rule: rule(inputs)))
        given = images.clone().requires_grad_()
        logits = model(given)
        value = logits.gather(1, labels[:, None]) if of == "logit" else logits.log_softmax(1).gather(1, labels[:, None])
        (gradient,) = torch.autograd.grad(value.sum() if of == "logit" else -value.sum(), given)
        pairs.append(gradient.numpy())
        for handle in handles:
            handle.remove()
    np.testing.assert_allclose(found["gradient_cosine"], gradient_cosine(*pairs), atol=1e-4)
    np.testing.assert_allclose(found["gradient_energy"], gradient_energy(pairs[0]), rtol=1e-4)
    assert found["gradient_cosine"].abs().max() < 0.999
    assert found["name"].tolist() == names_of(5)


def test_a_study_has_them_once_per_model():
    config = with_catalogs(
        {"study": "s", "dataset": "digits_clickme", "models": ["resnet_mini", "resnet_mini_dcls"]}, ROOT
    )
    config |= {"methods": ["gradcam", "xgrad_cam"], "protocols": ["gradients"], "tables": ["scores"], "figures": []}
    study = Study(validate(config, check_files=False))
    assert study.maps("gradients") == [("resnet_mini", "input_gradient"), ("resnet_mini_dcls", "input_gradient")]
