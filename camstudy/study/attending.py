"""Which architectures have attention whose weights can be read, told by their names: known without torch."""

import re
from collections.abc import Mapping, Sequence

from camstudy.models.timm_names import is_timm

# Names of timm's ViT, DeiT, BEiT, EVA and what is built like them: all of these modules' and no others'.
MODULES = ("vision_transformer", "vision_transformer_hybrid", "vision_transformer_relpos", "deit", "beit", "eva")
NAMES = re.compile(r"(vit|flexivit|aimv2|deit3?|beit(v2|3)?|eva(02)?|test_vit\d?)_|test_vit\d*$|test_vit\d*\.")


def attends(arch: str) -> bool:
    """Return whether a network has attention from each token to each, in blocks of one resolution.

    ``arch`` is a timm name or an import path. Of networks that are not timm's nothing is known: they are tried.

    >>> [attends(arch) for arch in ("vit_base_patch16_224.augreg_in1k", "resnet50", "my_networks.tiny")]
    [True, False, True]
    >>> attends("torchvision.models.vit_b_16")
    False
    """
    if arch.startswith("torchvision."):
        return False  # none whose weights can be read
    if arch.startswith("timm.models."):
        return arch.removeprefix("timm.models.").split(".")[0] in MODULES
    return bool(NAMES.match(arch)) or ("." in arch and not is_timm(arch))


def unsuited(models: Sequence[Mapping], known: Mapping, method: str) -> str:
    """Return what to say of a method that explains certain models alone, if none of the entries ``models`` is one."""
    variant, attention = known.get("variants", {}).get(method), method in known.get("attention", ())
    if not (variant or attention) or any(variant in (model.get("variant") or {}) for model in models):
        return ""
    if attention and any(attends(str(model.get("arch"))) for model in models):
        return ""
    kinds = [f"models with the variant `{variant}`"] * bool(variant) + ["transformers such as ViT"] * attention
    return f"explains {' and '.join(kinds)} alone, and none of `models` " + ("is one" if attention else "has it")
