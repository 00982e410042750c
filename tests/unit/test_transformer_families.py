"""The smallest network of each of timm's families of transformers: its layer, orientation, Grad-CAM by definition."""

import re

import numpy as np
import pytest
import timm
import torch
from conftest import ROOT

from camstudy.core.errors import CamstudyError
from camstudy.explain.engine import explain
from camstudy.explain.layers import check_output, resolve_target_layer, to_nchw
from camstudy.explain.methods import bind
from camstudy.explain.orientation import check_orientation

torch.set_num_threads(1)
pytestmark = pytest.mark.full

# Depth where it makes a large network small; otherwise the smallest name of a family as it is.
SHALLOW = {
    "beit_base_patch16_224": {"depth": 2},
    "naflexvit_base_patch16_gap": {"depth": 2},
    "samvit_base_patch16_224": {"depth": 2, "global_attn_indexes": (1,)},
}
ROW = re.compile(r"\| `(\w+)` \| (?:`([\w.]+)`|(.+?)) \|")


def table() -> dict[str, tuple[str, str]]:
    """Return layer or reason of each network in the table of the docs."""
    text = (ROOT / "docs/transformers.md").read_text().partition("\n## ")[0]
    return {name: (path, reason) for name, path, reason in ROW.findall(text)}


@pytest.mark.parametrize("name", table())
def test_layer_orientation_and_gradcam(name):
    path, reason = table()[name]
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7, **SHALLOW.get(name, {})).eval()
    size = model.default_cfg["input_size"][-1]
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    if not path:
        with pytest.raises(CamstudyError, match=re.escape(reason)):
            check_orientation(model, [resolve_target_layer(model, size=size)], images)
        return
    layer = resolve_target_layer(model, size=size)
    depth = SHALLOW.get(name, {}).get("depth")
    assert re.sub(r"^blocks\.\d+", "blocks.11", layer.path) == path if depth else layer.path == path
    check_orientation(model, [layer], images)

    labels, kept = np.array([3]), []
    handle = layer.module.register_forward_hook(lambda m, i, output: kept.append(output))
    logits = model(images[:1])
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, 3], kept[0])
    layout = check_output(kept[0], layer, 1)
    activations, gradients = (to_nchw(tensor.detach(), layout)[0].numpy() for tensor in (kept[0], gradient))
    expected = np.maximum((gradients.mean((1, 2))[:, None, None] * activations).mean(0), 0)
    found = explain(model, layer, images[:1], labels, {"map": bind("gradcam", {})}).maps["map"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max() + 1e-12)


def test_every_family_is_in_the_table():
    """Those of timm's modules whose networks attend and take images of 512 pixels or less."""
    modules = timm.models._registry._model_to_module
    found = {modules[name] for name in table()}
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
