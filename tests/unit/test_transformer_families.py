"""The smallest network of each of timm's families of transformers: its layer, orientation, Grad-CAM by definition."""

import numpy as np
import pytest
import timm
import torch
from conftest import ROOT

from camstudy.core.errors import CamstudyError
from camstudy.explain.engine import explain
from camstudy.explain.families import NETWORKS, built, layer_or_refusal, row
from camstudy.explain.layers import check_output, to_nchw
from camstudy.explain.methods import bind

torch.set_num_threads(1)
PAGE = ROOT / "docs/transformers.md"
STALE = "docs/transformers.md is stale: put there what python -m camstudy.explain.families prints"


def rows():
    """Return the lines of the table in the docs, by network."""
    lines = PAGE.read_text().partition("\n## ")[0].splitlines()
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


def test_the_table_has_a_row_for_each_network():
    assert list(rows()) == list(NETWORKS) == sorted(NETWORKS), STALE


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_layer_orientation_and_gradcam(name):
    model, images = built(name)
    found = layer_or_refusal(model, images)
    assert row(name, found) == rows()[name], STALE
    if isinstance(found, CamstudyError):
        return

    labels, kept = np.array([3]), []
    handle = found.module.register_forward_hook(lambda m, i, output: kept.append(output))
    logits = model(images[:1])
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, 3], kept[0])
    layout = check_output(kept[0], found, 1)
    activations, gradients = (to_nchw(tensor.detach(), layout)[0].numpy() for tensor in (kept[0], gradient))
    expected = np.maximum((gradients.mean((1, 2))[:, None, None] * activations).mean(0), 0)
    maps = explain(model, found, images[:1], labels, {"map": bind("gradcam", {})}).maps["map"][0]
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max() + 1e-12)


def test_every_family_is_in_the_table():
    """Those of timm's modules whose networks attend and take images of 512 pixels or less."""
    modules = timm.models._registry._model_to_module
    found = {modules[name] for name in NETWORKS}
    attending = {"beit", "cait", "coat", "convit", "crossvit", "davit", "deit", "edgenext", "efficientformer", "eva"}
    attending |= {"efficientformer_v2", "efficientvit_mit", "efficientvit_msra", "focalnet", "gcvit", "hiera", "levit"}
    attending |= {"maxxvit", "mlp_mixer", "mobilevit", "mvitv2", "naflexvit", "nest", "nextvit", "pit", "pvt_v2"}
    attending |= {"swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr", "tiny_vit", "tnt", "twins"}
    attending |= {
        "vision_transformer",
        "vision_transformer_relpos",
        "vision_transformer_sam",
        "vitamin",
        "volo",
        "xcit",
    }
    attending |= {"visformer", "vision_transformer_hybrid"}
    assert found == attending
