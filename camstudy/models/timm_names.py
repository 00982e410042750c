"""What planning must know of timm's names without importing timm, which takes seconds: timm_names.json.

``python -m camstudy.models.timm_names`` writes it anew after another version of timm; a test holds the two together.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_suffix(".json")
CLASSES, MODE = 1000, "center"  # of most names; the table has the others


@dataclass(frozen=True)
class Facts:
    """What is known of a timm name.

    name : its name today, another one for a name of older versions of timm
    has_other_input : whether it is an old name whose images are prepared otherwise than timm's defaults say
    classes : number of classes of its weights, 0 for weights without a classifier; None for what is no timm name, or
        one without weights
    crop_mode : what becomes of images that are not square, one of `camstudy.core.geometry.CROP_MODES`
    """

    name: str
    has_other_input: bool = False
    classes: int | None = None
    crop_mode: str = MODE


def facts(arch: str) -> Facts:
    """Return what is known of the ``arch`` of a catalogue entry, a timm name or an import path.

    >>> facts("tf_efficientnet_b4_ns").name
    'tf_efficientnet_b4.ns_jft_in1k'
    """
    table = _table()
    name = table["renamed"].get(arch) or table["renamed_alike"].get(arch) or arch
    tagged = table["default"].get(name, name)
    classes = table["classes"].get(tagged, CLASSES) if tagged in table["known"] else None
    return Facts(name, arch in table["renamed"], classes, table["crop_mode"].get(tagged, MODE))


def is_timm(arch: str) -> bool:
    """Return whether what precedes the first dot of an ``arch`` is a name of timm's that has weights, old or new."""
    table, head = _table(), arch.partition(".")[0]
    return head in table["default"] or head in table["renamed"] or head in table["renamed_alike"]


def random_head(classes: int | None, wanted: int | None) -> str:
    """Return what is wrong with weights of so many ``classes`` for a model that is not trained; nothing if they fit."""
    if classes in (None, wanted):
        return ""
    if not classes:
        return (
            "the weights have no classifier, so that it would stay random, and the model is not trained; add `train`, "
            "or take weights that have one"
        )
    return (
        f"the weights have a classifier of {classes} classes, the model one of {wanted}, so that it would stay random, "
        f"and the model is not trained; set `num_classes: {classes}` if your data have these classes, or add `train`"
    )


@cache
def _table() -> dict:
    """Return the file's content, by name what it has by value."""
    table = json.loads(TABLE.read_text())
    tags = {head: text.split(" ") for head, text in table["tags"].items()}
    classes = {int(number): names.split() for number, names in table["classes"].items()}
    return {
        "renamed": table["renamed"],
        "renamed_alike": table["renamed_alike"],
        "default": {head: _joined(head, own[0]) for head, own in tags.items()},
        "known": {_joined(head, tag) for head, own in tags.items() for tag in own},
        "classes": {name: number for number, names in classes.items() for name in names},
        "crop_mode": {name: mode for mode, names in table["crop_mode"].items() for name in names.split()},
    }


def _joined(head: str, tag: str) -> str:
    return f"{head}.{tag}" if tag else head


def read_timm() -> dict:
    """Return the content of the table as the installed timm has it; of tags the default one comes first."""
    import timm
    from timm.data import resolve_data_config
    from timm.models import get_pretrained_cfg
    from timm.models._registry import get_deprecated_models

    tags: dict[str, list[str]] = {}
    for name in timm.list_pretrained():
        head, _, tag = name.partition(".")
        default = get_pretrained_cfg(head).tag or ""
        known = tags.setdefault(head, [])
        known.insert(0 if tag == default else len(known), tag)
    configs = {_joined(head, tag): get_pretrained_cfg(_joined(head, tag)) for head, own in tags.items() for tag in own}
    inputs = {name: resolve_data_config(pretrained_cfg=config.to_dict()) for name, config in configs.items()}
    usual = resolve_data_config(pretrained_cfg={"input_size": (3, 224, 224)})
    alike, other = {}, {}
    for old, new in get_deprecated_models().items():
        tagged = _joined(new, tags[new][0]) if new in tags else new
        (alike if inputs.get(tagged, usual) == usual else other)[old] = new
    return {
        "version": timm.__version__,
        "tags": {head: " ".join(own) for head, own in tags.items()},
        "renamed": other,
        "renamed_alike": alike,
        "classes": _by_value({name: config.num_classes for name, config in configs.items()}, CLASSES),
        "crop_mode": _by_value({name: config["crop_mode"] for name, config in inputs.items()}, MODE),
    }


def _by_value(values: dict[str, object], usual: object) -> dict[str, str]:
    """Return the names of each value but the usual one."""
    found: dict[str, list[str]] = {}
    for name, value in values.items():
        if value != usual:
            found.setdefault(str(value), []).append(name)
    return {value: " ".join(names) for value, names in found.items()}


def main() -> None:
    """Write the table."""
    TABLE.write_text(json.dumps(read_timm(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
