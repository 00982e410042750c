"""Trials: a study on the first few images, under names of its own, so that nothing of the full study is touched.

With `n_images: 64`, `dataset` becomes `{dataset}-n64`, a copy of its entry with so many images, and the study
`{study}-n64`. An entry that has this number of images already is no trial, and nothing is renamed.
"""

import copy
from collections.abc import Iterator, Mapping

from camstudy.core.names import trial_name


def check_trial(config: Mapping) -> Iterator[tuple[tuple[str], str]]:
    """Yield place and mistake where the catalogue has the name of the trial's dataset for another one."""
    if (found := _renamed(config)) is None:
        return
    name, entry = found
    other = config["catalog"]["datasets"].get(name, entry)
    if other != entry:
        text = f"a trial of `{config['dataset']}` would be called `{name}`, as another dataset of the catalogue is"
        yield ("n_images",), f"{text}; rename that entry"


def make_trial(config: dict) -> None:
    """Make a configuration with `n_images` that of a trial, in place; one that is a trial already stays as it is."""
    if (found := _renamed(config)) is None:
        return
    name, entry = found
    config["catalog"]["datasets"][name] = entry
    if config["prediction_dataset"] == config["dataset"]:
        config["prediction_dataset"] = name
    config["dataset"] = name
    config["study"] = trial_name(config["study"], config["n_images"])


def _renamed(config: Mapping) -> tuple[str, dict] | None:
    """Return name and entry of the trial's dataset; None where there is no trial, or the dataset is unknown."""
    count, datasets = config["n_images"], config.get("catalog", {}).get("datasets", {})
    entry = datasets.get(config.get("dataset"))
    if count is None or entry is None or entry.get("n_images") == count:
        return None
    return trial_name(config["dataset"], count), copy.deepcopy(entry) | {"n_images": count}
