"""Checkpoints as the authors of the DCLS models lay them out, made from our own networks; no test of its own.

The names are those of the official code: facebookresearch/ConvNeXt, sail-sg/metaformer, apple/ml-fastvit and timm's
ResNet. Names are mapped here from timm's to theirs, by hand, the opposite way of timm's filters.
"""

import argparse
import pathlib
import re

import torch
from torch import nn

METAFORMER = "import:timm.models.metaformer"
# Narrow and shallow, by keyword arguments of timm's names or, where those fix depths and widths, of the class.
NARROW = {
    "resnet50": {"layers": [1, 2, 1, 1], "channels": [8, 12, 16, 24]},
    "convnext_tiny": {"depths": [1, 1, 2, 1], "dims": [8, 12, 16, 24]},
    "convformer_s18": {"depths": [1, 2, 1, 1], "dims": [8, 12, 16, 24], "token_mixers": f"{METAFORMER}.SepConv"},
    "caformer_s18": {
        "depths": [1, 2, 1, 1],
        "dims": [8, 16, 32, 64],
        "token_mixers": [f"{METAFORMER}.SepConv"] * 2 + [f"{METAFORMER}.Attention"] * 2,
        "norm_layers": [f"{METAFORMER}.LayerNorm2dNoBias"] * 2 + [f"{METAFORMER}.LayerNormNoBias"] * 2,
    },
    "fastvit_sa24": {"layers": [1, 1, 2, 1], "embed_dims": [8, 16, 32, 64]},
}


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and buffer values of its own, in evaluation mode, so that none is lost unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif name.endswith(".P"):
                tensor.uniform_(-3, 3, generator=generator)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            else:
                spread = 0.3 if tensor.ndim < 2 else max(0.02, tensor[0].numel() ** -0.5)
                tensor.normal_(1 if tensor.ndim == 1 and name.endswith("weight") else 0, spread, generator=generator)
    return model.eval()


def convnext(name: str) -> str:
    name = re.sub(r"^stages\.(\d)\.blocks\.(\d+)", r"stages.\1.\2", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2", name)
    name = re.sub(r"^stem\.", "downsample_layers.0.", name)
    name = re.sub(r"^head\.norm\.", "norm.", name)
    name = re.sub(r"^head\.fc\.", "head.", name)
    return name.replace(".conv_dw.", ".dwconv.").replace(".mlp.fc", ".pwconv")


def metaformer(name: str) -> str:
    name = re.sub(r"^stages\.(\d)\.blocks\.(\d+)", r"stages.\1.\2", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.norm", r"downsample_layers.\1.pre_norm", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.conv", r"downsample_layers.\1.conv", name)
    name = re.sub(r"^stem\.norm", "downsample_layers.0.post_norm", name)
    name = re.sub(r"^stem\.conv", "downsample_layers.0.conv", name)
    name = re.sub(r"^head\.norm\.", "norm.", name)
    return re.sub(r"^head\.fc\.", "head.", name)


def fastvit(name: str) -> str:
    # One flat list: stage, downsampling, stage, ..., and position encoding before the last stage.
    place = {0: 0, 1: 2, 2: 4, 3: 7}
    name = re.sub(r"^stages\.(\d)\.blocks", lambda found: f"network.{place[int(found[1])]}", name)
    name = re.sub(r"^stages\.(\d)\.downsample", lambda found: f"network.{2 * int(found[1]) - 1}", name)
    name = name.replace("stages.3.pos_emb.pos_enc", "network.6.pe")
    name = re.sub(r"^stem\.", "patch_embed.", name)
    name = re.sub(r"^final_conv\.", "conv_exp.", name)
    name = re.sub(r"^head\.fc\.", "head.", name)
    for ours, theirs in (
        ("conv_kxk", "rbr_conv"),
        ("conv_scale", "rbr_scale"),
        ("identity", "rbr_skip"),
        ("large_conv", "lkb_origin"),
        (".mlp.", ".convffn."),
        ("se.fc1", "se.reduce"),
        ("se.fc2", "se.expand"),
        (".gamma", ""),
    ):
        name = name.replace(ours, theirs)
    return name


NAMES = {
    "resnet50": lambda name: name,
    "convnext_tiny": convnext,
    "convformer_s18": metaformer,
    "caformer_s18": metaformer,
    "fastvit_sa24": fastvit,
}


def official(name: str, model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a state with the authors' names and shapes; positions are repeated under every block."""
    state = {NAMES[name](key): tensor.detach() for key, tensor in model.state_dict().items()}
    if "former" in name:  # channels last: what timm has as 1x1 convolutions are linear layers
        state = {key: t.flatten(1) if t.ndim == 4 and t.shape[2:] == (1, 1) else t for key, t in state.items()}
    return state


class Windows:
    """Pickled as a path of Windows, which cannot be made elsewhere."""

    def __reduce__(self):
        return pathlib.WindowsPath, ("C:\\", "out")


def checkpoint(name: str, state: dict, key: str) -> dict:
    """Return all that the authors' trainers save beside the weights under ``key``."""
    if name == "convnext_tiny":
        return {key: state}
    args = argparse.Namespace(model=name, lr=1e-3, output=pathlib.PosixPath("/data/out"), data_dir=Windows())
    raw = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    return {
        "epoch": 299,
        "arch": name,
        "state_dict": {f"module.{name}": tensor for name, tensor in raw.items()},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "version": 2,
        "args": args,
        "amp_scaler": {},
        key: state,
        "metric": 79.9,
    }
