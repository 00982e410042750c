"""What a job needs: seconds, memory, disk and files, estimated from its work by the table `resources` of the config.

The same estimate decides how much a job asks the cluster for, how many parts of a dataset share a job, and what
`snakemake plan` prints.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from camstudy.data.sources import expected_images
from camstudy.explain.methods import bind
from camstudy.metrics.scoring import FAMILIES, Family
from camstudy.pipeline.wildcards import Wildcards

EXPLAINING = ("explain", "time_method")  # rules whose time depends on the method, beside families that explain anew
SIDE = 224  # of the images that seconds and memory of the table are stated for
LAST_STAGE = 7  # side of the maps that disk of the table is stated for


@dataclass(frozen=True)
class Estimate:
    """What one job takes: GPUs, seconds on them if it has any, megabytes of memory and of results, number of files.

    ``start`` is the part of the seconds that goes by without an image; ``images`` counts those of each epoch.
    """

    gpus: int
    images: int
    start: float
    seconds: float
    memory_mb: float
    disk_mb: float
    files: int


def estimate(
    config: Mapping,
    rule: str,
    wildcards: Mapping[str, str] | Wildcards,
    *,
    gpu: bool = True,
    images_of: Callable[[str], int] | None = None,
) -> Estimate:
    """Return what a job of ``rule`` takes: the fixed part of its row and what each image adds.

    Parameters
    ----------
    config : validated configuration
    rule : name of the rule, a row of `resources.rules`
    wildcards : of the job
    gpu : whether there are GPUs; rules marked `gpu` take `resources.cpu_factor` times as long without
    images_of : returns the number of images of a dataset; by default `expected_images` guesses
    """
    row, catalog = config["resources"]["rules"][rule], config["catalog"]
    recipe = catalog["models"][wildcards["model"]]["train"] if rule == "train" else None
    dataset = recipe["dataset"] if recipe else wildcards.get("dataset")
    images = 0
    if dataset:
        whole = images_of(dataset) if images_of else expected_images(catalog["datasets"][dataset])
        images = _taken(wildcards, _images(config, rule, whole, wildcards))
    gpus = (recipe["gpu"] if recipe else 1) if row["gpu"] and gpu else 0
    slower = config["resources"]["cpu_factor"] if row["gpu"] and not gpu else 1 / max(gpus, 1)
    seconds_per_image = slower * row["seconds_per_image"] * _weight(config, rule, wildcards)
    epochs, batch, minutes = 1, config["explain"]["batch_size"], row["minutes"]
    if rule == "time_method":
        # Warm-up and timed runs each stop after `seconds`, of the method and of the forward pass.
        protocol = _protocol(config, wildcards)
        batch, minutes = protocol["batch_size"], minutes + 4 * protocol["seconds"] / 60
    if recipe:
        epochs, batch = recipe["epochs"], recipe["batch_size"] // recipe["accumulate"]
    return Estimate(
        gpus=gpus,
        images=epochs * images,
        start=60 * minutes,
        seconds=60 * minutes + epochs * images * seconds_per_image,
        memory_mb=row["mem_mb"] * max(gpus, 1) + row["mem_mb_per_image"] * batch * _area(config, wildcards),
        disk_mb=row["disk_mb"] + row["disk_kb_per_image"] * images * _map_area(config, rule, wildcards) / 1000,
        files=row["files"] + row["files_per_chunk"] * math.ceil(images / config["explain"]["chunk_size"]),
    )


def request(
    config: Mapping,
    rule: str,
    wildcards: Mapping[str, str] | Wildcards,
    attempt: int,
    *,
    gpu: bool,
    images_of: Callable[[str], int] | None = None,
) -> dict[str, int]:
    """Return `mem_mb` and `runtime` in minutes to ask for: time with a margin, and both once more at each attempt."""
    taken, settings = estimate(config, rule, wildcards, gpu=gpu, images_of=images_of), config["resources"]
    minutes = max(settings["safety"] * taken.seconds / 60, settings["least_minutes"])
    return {"mem_mb": math.ceil(attempt * taken.memory_mb), "runtime": math.ceil(attempt * minutes)}


def _weight(config: Mapping, rule: str, wildcards: Mapping[str, str] | Wildcards) -> float:
    """Return how many passes at 224x224 an image costs; 1 where no network runs."""
    if not config["resources"]["rules"][rule]["gpu"]:
        return 1
    family = _family(config, wildcards)
    explains = rule in EXPLAINING or (family is not None and "method" in family.needs)
    method = config["catalog"]["methods"].get(wildcards.get("method"), {}) if explains else {}
    times = family.passes(_protocol(config, wildcards)) if family else 1
    return times * method.get("passes", 1) * _area(config, wildcards)


def _images(config: Mapping, rule: str, images: int, wildcards: Mapping[str, str] | Wildcards) -> int:
    """Return the number of images that a rule takes of a dataset that has so many."""
    family = _family(config, wildcards)
    if rule == "time_method":
        protocol = _protocol(config, wildcards)
        return min(images, protocol.get("images") or protocol["batch_size"])
    return min(images, _protocol(config, wildcards)[family.sample]) if family and family.sample else images


def _protocol(config: Mapping, wildcards: Mapping[str, str] | Wildcards) -> Mapping:
    """Return the entry of the protocol that a job scores or measures by."""
    return config["catalog"]["protocols"][wildcards["protocol"]]


def _family(config: Mapping, wildcards: Mapping[str, str] | Wildcards) -> Family | None:
    """Return the family by which a job scores maps; None for other jobs."""
    if not wildcards.get("protocol"):
        return None
    name = _protocol(config, wildcards)["family"]
    return None if name == "cost" else FAMILIES[name]


def _map_area(config: Mapping, rule: str, wildcards: Mapping[str, str] | Wildcards) -> float:
    """Return how many times as large a method's maps are as those of the last stage, of four that halve the image."""
    if rule != "explain":
        return 1
    entry = config["catalog"]["methods"][wildcards["method"]]
    if side := bind(entry["method"], entry["parameters"]).side(_side(config, wildcards)):
        return (side / LAST_STAGE) ** 2
    stage = entry.get("stage") or -1
    return 4 ** (max(4 - stage, 0) if stage > 0 else -1 - stage)


def _area(config: Mapping, wildcards: Mapping[str, str] | Wildcards) -> float:
    """Return how many times 224x224 a model's input has; timm's own sizes are taken for 224."""
    return (_side(config, wildcards) / SIDE) ** 2


def _side(config: Mapping, wildcards: Mapping[str, str] | Wildcards) -> int:
    """Return the side of a model's input."""
    return config["catalog"]["models"].get(wildcards.get("model"), {}).get("input", {}).get("size", SIDE)


def _taken(wildcards: Mapping[str, str] | Wildcards, images: int) -> int:
    """Return how many of a dataset's images a job takes: those of a part, `/00000-01023` in its path, or all."""
    part = wildcards.get("part")
    if not part:
        return images
    first, last = part.removeprefix("/").split("-")
    return int(last) - int(first) + 1
