"""A network of each of timm's modules, and the table of what is supported: `python -m tests.networks` writes it.

The smallest of a module, with fewer blocks where it has many, random weights and seven classes. With names of modules
as arguments, their rows alone are made anew.
"""

import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import timm
import torch

from camstudy.core.errors import CamstudyError
from camstudy.explain.checking import check_network
from camstudy.models.build import build_model

PAGE = Path(__file__).parents[1] / "docs/networks.md"
CLASSES = 7
# With strides of 32 pixels, three positions a side or more.
SIZES = (96, 128, 160, 192, 224, 256)

NETWORKS = {
    "beit": "beit_base_patch16_224",
    "byoanet": "halonet_h1",
    "byobnet": "test_byobnet",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "test_convnext",
    "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46x_c",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "test_efficientnet",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "vit_tiny_patch16_dinov3_qkvb",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "gemma4_vit": "gemma4_vit_167m",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "ens_adv_inception_resnet_v2",
    "inception_v3": "adv_inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s",
    "lowformer": "lowformer_b0",
    "mambaout": "test_mambaout",
    "maxxvit": "test_coatnet",
    "metaformer": "poolformerv2_s12",
    "mlp_mixer": "gmlp_ti16_224",
    "mobilenetv3": "mobilenetv3_small_050",
    "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_gap",
    "nasnet": "nasnetalarge",
    "nest": "jx_nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "test_nfnet",
    "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0",
    "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2next50",
    "resnest": "resnest14d",
    "resnet": "test_resnet",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window16_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vision_transformer": "test_vit",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "test_vit_relpos",
    "vision_transformer_sam": "samvit_base_patch16_224",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
    "xception_aligned": "xception41p",
    "xcit": "xcit_nano_12_p8_224",
}
SHRUNK: dict[str, dict] = {
    "beit_base_patch16_224": {"depth": 2},
    "naflexvit_base_patch16_gap": {"depth": 2},
    "samvit_base_patch16_224": {"depth": 2, "global_attn_indexes": (1,)},
    "deepseek_vit_412m": {"depth": 2},
    "gemma4_vit_167m": {"depth": 2},
    "qwen3_vit_88m": {"depth": 2},
}

INTRODUCTION = """\
# Networks

<!-- Generated, in a quarter of an hour: `python -m tests.networks` -->

The smallest network of each of timm's modules, as far as it can be built without its weights: which layer is explained
by default, with random weights and images of this size, and the channels, rows and columns of its output; or why there
is none, as `check_model` says it. A test of the second tier holds each row: the check, the orientation of the layer's
positions, weights saved and loaded, and Grad-CAM by its definition. What is refused can be explained by a layer that is
named: `target_layer` of [extending.md](extending.md). Of transformers, [transformers.md](transformers.md) says more.

"""
HEADINGS = ("module", "network", "size", "layer", "output")


def entry(name: str, size: int) -> dict:
    """Return the catalogue entry of a network, defaults filled in."""
    given = {"arch": name, "kwargs": SHRUNK.get(name, {}), "num_classes": CLASSES, "input": {"size": size}}
    return given | {"variant": {}, "train": None, "target_layer": None, "weights": "random"}


def table() -> dict[str, list[str]]:
    """Return the cells of each row of the page, by module."""
    text = PAGE.read_text() if PAGE.exists() else ""
    rows = [re.split(r" ?(?<!\\)\| ?", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells for cells in rows}


def row(module: str, sizes: Iterable[int] = ()) -> list[str]:
    """Return the cells of a module's network, at the first size of images at which it has a layer, or at the last."""
    name = NETWORKS[module]
    for size in sizes or _sizes(name):
        try:
            layer = check_network(entry(name, size))["layer"]
        except CamstudyError as error:
            found = [" ".join(str(error).split()).replace("|", "\\|"), ""]
        else:
            found = [f"`{layer['path']}`", "x".join(map(str, layer["shape"])) + f", {layer['layout']}"]
            break
    return [f"`{module}`", f"`{name}`", str(size), *found]


def _sizes(name: str) -> Iterator[int]:
    """Yield a small size of images that a network takes, unless it takes its own alone, and its own."""
    with torch.device("meta"):
        config = timm.create_model(name).pretrained_cfg
    own = config["input_size"][-1]
    for size in SIZES:
        if config.get("fixed_input_size") or size >= own:
            break
        model = build_model(entry(name, size)).eval()
        with suppress(RuntimeError, AssertionError, ValueError), torch.no_grad():
            if model(torch.zeros(1, 3, size, size)).shape == (1, CLASSES):
                yield size
                break
    yield own


def main(modules: list[str]) -> None:
    """Write the page, with the rows of all modules made anew, or of some."""
    warnings.simplefilter("ignore")
    rows = table()
    for module in modules or NETWORKS:
        rows[module] = row(module)
        lines = [f"| {' | '.join(cells)} |" for cells in ([*HEADINGS], *(rows[key] for key in NETWORKS if key in rows))]
        lines.insert(1, "|---" * len(HEADINGS) + "|")
        PAGE.write_text(INTRODUCTION + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
