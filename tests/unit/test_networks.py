"""A network of each of timm's modules is as docs/networks.md says: its layer, weights, Grad-CAM by definition."""

import numpy as np
import pytest
import timm
import torch

from camstudy.explain.engine import explain
from camstudy.explain.layers import check_output, resolve_target_layer, to_nchw
from camstudy.explain.methods import bind
from camstudy.models.build import build_model
from camstudy.models.weights.checkpoints import load_weights, save_model
from tests.networks import CLASSES, HEADINGS, NETWORKS, PAGE, SHRUNK, entry, main, row, table

torch.set_num_threads(1)

# Of different kinds, and of a fraction of a second; all others take minutes.
QUICK = ("byobnet", "convnext", "efficientnet", "mambaout", "nfnet", "resnet", "vision_transformer")


def tiers():
    return [pytest.param(name, marks=[] if name in QUICK else pytest.mark.full) for name in NETWORKS]


def test_every_module_of_timm_has_a_row():
    assert [*NETWORKS] == [*table()] == sorted(timm.list_modules())
    assert all(len(cells) == len(HEADINGS) for cells in table().values())
    assert [cells[1] for cells in table().values()] == [f"`{name}`" for name in NETWORKS.values()]
    modules = timm.models._registry._model_to_module
    assert {modules[name] for name in NETWORKS.values()} == {*NETWORKS}
    assert SHRUNK.keys() <= {*NETWORKS.values()}


def test_writing_some_rows_leaves_the_others(tmp_path, monkeypatch):
    text = PAGE.read_text()
    (tmp_path / "page.md").write_text(text.replace("| `byobnet` | `test_byobnet` | 96 |", "| `byobnet` | `old` | 1 |"))
    monkeypatch.setattr("tests.networks.PAGE", tmp_path / "page.md")
    main(["byobnet"])
    assert (tmp_path / "page.md").read_text() == text


@pytest.mark.parametrize("module", tiers())
def test_layer_weights_and_gradcam(module, tmp_path):
    cells = table()[module]
    size, has_layer = int(cells[2]), bool(cells[4])
    assert row(module, [size]) == cells
    one = entry(NETWORKS[module], size)
    model, again = build_model(one).eval(), build_model(one, seed=1).eval()
    save_model(model, tmp_path / "m.safetensors")
    load_weights(again, tmp_path / "m.safetensors")
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(model(image), again(image))
    if not has_layer:
        return
    layer, kept = resolve_target_layer(model, size=size), []
    handle = layer.module.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    logits = model(image)
    handle.remove()
    assert logits.shape == (1, CLASSES)
    (gradient,) = torch.autograd.grad(logits[0, 3], kept[0])
    layout = check_output(kept[0], layer, 1)
    activations, gradients = (to_nchw(tensor.detach(), layout)[0].numpy() for tensor in (kept[0], gradient))
    assert cells[4] == "x".join(map(str, activations.shape)) + f", {layout}"
    expected = np.maximum((gradients.mean((1, 2))[:, None, None] * activations).mean(0), 0)
    found = explain(model, layer, image, np.array([3]), {"map": bind("gradcam", {})}).maps["map"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max() + 1e-12)
