"""Default layers of timm's transformers, the table of docs/transformers.md: `python -m camstudy.explain.families`."""

import re
from collections.abc import Mapping

import timm
import torch
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError
from camstudy.explain.layers import TargetLayer, resolve_target_layer
from camstudy.explain.orientation import check_orientation

CLASSES = 7
# A network of each family, the smallest name, and arguments that make it smaller without moving its layer.
NETWORKS: Mapping[str, Mapping[str, object]] = {
    "beit_base_patch16_224": {"embed_dim": 48, "num_heads": 3},
    "cait_xxs24_224": {"embed_dim": 48, "num_heads": 4},
    "coat_lite_tiny": {},
    "coat_tiny": {"embed_dims": (48, 48, 48, 48)},
    "convit_tiny": {},
    "crossvit_tiny_240": {},
    "davit_tiny": {"embed_dims": (24, 48, 96, 192), "num_heads": (1, 2, 4, 8)},
    "deit_tiny_distilled_patch16_224": {},
    "edgenext_xx_small": {},
    "efficientformer_l1": {},
    "efficientformerv2_s0": {},
    "efficientvit_b0": {},
    "efficientvit_m0": {},
    "eva02_tiny_patch14_224": {},
    "focalnet_tiny_srf": {},
    "gcvit_xxtiny": {},
    "gmixer_12_224": {},
    "hiera_tiny_224": {"embed_dim": 24},
    "jx_nest_tiny": {},
    "levit_128s": {},
    "maxvit_pico_rw_256": {},
    "mobilevit_xxs": {},
    "mvitv2_tiny": {},
    "naflexvit_base_patch16_gap": {"embed_dim": 48, "num_heads": 3},
    "nextvit_small": {},
    "pit_ti_224": {},
    "pvt_v2_b0": {},
    "samvit_base_patch16_224": {"embed_dim": 48, "num_heads": 3},
    "swin_tiny_patch4_window7_224": {"embed_dim": 24, "num_heads": (1, 2, 4, 8)},
    "swinv2_cr_tiny_224": {"embed_dim": 24, "num_heads": (1, 2, 4, 8)},
    "swinv2_tiny_window8_256": {"embed_dim": 24, "num_heads": (1, 2, 4, 8)},
    "tiny_vit_5m_224": {},
    "tnt_s_legacy_patch16_224": {"embed_dim": 96},
    "twins_svt_small": {"embed_dims": (16, 32, 64, 128)},
    "visformer_tiny": {},
    "vit_srelpos_small_patch16_224": {"embed_dim": 96, "num_heads": 3},
    "vit_tiny_patch16_224": {},
    "vit_tiny_patch16_dinov3_qkvb": {},
    "vit_tiny_r_s16_p8_224": {},
    "vitamin_small_224": {},
    "volo_d1_224": {},
    "xcit_nano_12_p16_224": {},
}


def built(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network of the table with random weights, in evaluation mode, and two images of noise for it."""
    torch.manual_seed(0)
    stated = dict(NETWORKS[name])
    model = timm.create_model(name, num_classes=CLASSES, **stated).eval()
    size = stated.get("img_size") or model.default_cfg["input_size"][-1]
    return model, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def layer_or_refusal(model: nn.Module, images: Tensor) -> TargetLayer | CamstudyError:
    """Return the layer of a network that is explained by default, or the error that says why there is none."""
    try:
        layer = resolve_target_layer(model, size=images.shape[-1])
        check_orientation(model, [layer], images)
    except CamstudyError as error:
        return error
    return layer


def row(name: str, found: TargetLayer | CamstudyError) -> str:
    """Return a network's line in the table: its layer, or why it has none.

    >>> row("net", CamstudyError("target_layer `x`: its order is not known (by far); state it"))
    '| `net` | its order is not known |'
    """
    if isinstance(found, TargetLayer):
        return f"| `{name}` | `{found.path}` |"
    reason = str(found).partition(": ")[2].partition(";")[0]
    return f"| `{name}` | {re.sub(r' [(].*[)]', '', reason)} |"


def main() -> None:
    """Print the table."""
    print("| network | layer, or why there is none |\n|---|---|")
    for name in NETWORKS:
        print(row(name, layer_or_refusal(*built(name))), flush=True)


if __name__ == "__main__":
    main()
