"""The layer sweep of a study: methods applied at each of some stages, as catalogue entries of their own."""

import copy
from collections.abc import Mapping


def layer_sweep(config: Mapping) -> dict[str, tuple[str, int]]:
    """Return method and stage of each entry of the layer sweep by its name, whether it is asked for or not."""
    sweep = config["layer_sweep"]
    return {f"{method}_stage{stage}": (method, stage) for method in sweep["methods"] for stage in sweep["stages"]}


def sweeps_layers(config: Mapping) -> bool:
    """Whether a study has a table or figure of the layer sweep."""
    return shows(config, "layer_sweep") or shows(config, "layer_faithfulness")


def shows(config: Mapping, name: str) -> bool:
    """Whether a study has a table or figure of this name."""
    return name in config["tables"] or name in config["figures"]


def add_stages(config: dict) -> None:
    """Put the entries of the layer sweep into the catalogue, in place, where it is asked for."""
    if not sweeps_layers(config):
        return
    methods = config["catalog"]["methods"]
    for name, (method, stage) in layer_sweep(config).items():
        base = methods[method]
        # A stage before the last has its gradients through the rest of the network: forward, and back.
        own = {"title": f"{base['title']}, stage {stage}", "stage": stage, "passes": 3 * base["passes"]}
        methods.setdefault(name, copy.deepcopy(base) | own)
