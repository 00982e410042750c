"""Runs the golden study, the whole workflow in miniature, in this process, where its calls can be watched."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import safetensors.numpy
import timm
import yaml
from snakemake.api import SnakemakeApi
from snakemake.script import Snakemake
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

from camstudy.data.formats.clickme import encode_example
from camstudy.data.formats.tfrecord import write_shard
from camstudy.study.protocols import shipped
from tests import trees
from tests.golden.numbers import noise, weights

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "camstudy", "config", "envs", "profiles", "scripts", "workflow")
PHOTOGRAPHS = (
    *("imagenet", "imagenet_train", "voc2012", "cub200", "mit1003", "salicon", "cat2000"),
    *("cifar10", "cifar100", "mit67", "gaze_table", "folder", "unlabeled", "fetched"),
)
SCORES = ("gradcam/gaze", "gradcam/gradients", "fovex/scanpaths")
# Beside what the study asks for.
TARGETS = [
    "all",
    "results/models/trained/model.json",
    "results/data/clickme.json",
    *(f"results/data/{name}.json" for name in PHOTOGRAPHS),
    *(f"results/scores/gazed/plain/{name}.parquet" for name in SCORES),
]


@dataclass(frozen=True)
class Step:
    """A job that ran: the name of its script, its wildcards, and the files that it made."""

    script: str
    wildcards: dict[str, str]
    outputs: list[Path]


@contextmanager
def directory(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run(
    folder: Path, *, figures: bool = False, watched: Callable[[Callable[[], None]], None] = lambda work: work()
) -> Iterator[Step]:
    """Run the study in an empty folder and yield its steps, one after the other; ``watched`` calls each of them.

    Its figures take as long as all the rest, and have no golden results.
    """
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    inputs = folder / "inputs"
    _make_inputs(inputs)
    study = Path(__file__).with_name("study.yaml").read_text().replace("INPUTS", str(inputs))
    (folder / "study.yaml").write_text(study)
    with directory(folder), _alone():
        for job, config in _jobs(folder):
            for path in [*job.output, *job.log]:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            script = ROOT / "scripts" / Path(job.rule.script).name
            if script.stem.startswith("draw_") and not figures:
                continue
            about = (job.input, job.output, job.params, job.wildcards, job.threads, job.resources, job.log, config)
            names = {"snakemake": Snakemake(*about, job.rule.name, None, str(script.parent)), "__name__": "__main__"}
            code = compile(script.read_text(), script, "exec")
            watched(lambda code=code, names=names: exec(code, names))
            yield Step(script.stem, dict(job.wildcards.items()), [folder / path for path in _made(job)])


def sources() -> dict[str, str]:
    """Return where each dataset of the study comes from."""
    catalog = yaml.safe_load(Path(__file__).with_name("study.yaml").read_text())["catalog"]
    return {name: entry["source"] for name, entry in catalog["datasets"].items()}


def families() -> dict[str, str]:
    """Return the family of each protocol of the study."""
    own = yaml.safe_load(Path(__file__).with_name("study.yaml").read_text())["catalog"]["protocols"]
    return {name: entry["family"] for name, entry in (shipped() | own).items()}


def _made(job: object) -> list[str]:
    """Return the outputs of a job, and the tables that lie beside its record."""
    outputs = [str(path) for path in job.output]
    beside = Path(outputs[0]).parent.glob(f"{Path(outputs[0]).stem}.*.parquet")
    return outputs + sorted(str(path) for path in beside if str(path) not in outputs)


def _jobs(folder: Path) -> Iterator[tuple]:
    """Plan the study and yield its jobs in an order in which they can run, with its configuration."""
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            ResourceSettings(cores=1),
            ConfigSettings(configfiles=[folder / "study.yaml"]),
            snakefile=folder / "Snakefile",
            workdir=folder,
        )
        workflow.dag(DAGSettings(targets=set(TARGETS))).execute_workflow(executor="dryrun")
        planned = workflow._workflow
        for level in planned.dag.toposorted():
            yield from ((job, planned.config) for job in sorted(level, key=str) if job.rule.script)


@contextmanager
def _alone() -> Iterator[None]:
    """Leave out what would measure this process or take its output away."""
    from camstudy.models import speed
    from camstudy.pipeline import job

    with (
        mock.patch.object(job, "logged", return_value=nullcontext(print)),
        mock.patch.object(job, "_keep_freed_memory"),
        # It would start Python anew to have its memory.
        mock.patch.object(speed, "peak_memory_mb", return_value=0),
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "path", [*sys.path]),
    ):
        yield


def _make_inputs(inputs: Path) -> None:
    for name in (*(name for name in PHOTOGRAPHS if not name.startswith("cifar")), "cifar"):
        (inputs / name).mkdir(parents=True)
    trees.as_distributed(inputs / "imagenet")
    trees.imagenet_boxes(inputs / "imagenet")
    trees.as_train(inputs / "imagenet")
    trees.voc2012(inputs / "voc2012")
    trees.cub200(inputs / "cub200")
    trees.cub200(inputs / "fetched", packed=True)
    for make in (trees.mit1003, trees.salicon, trees.cat2000, trees.mit67, trees.gaze_table):
        make(inputs / make.__name__)
    for version in ("cifar10", "cifar100"):
        trees.cifar(inputs / "cifar", version)
    trees.as_classes(inputs / "folder")
    examples = [_example(number) for number in range(2)]
    write_shard(inputs / "0.tfrecords", examples)
    block = timm.models.resnet.BasicBlock
    net = timm.models.resnet.ResNet(
        block, [1, 1, 1, 1], channels=[8, 12, 16, 24], stem_width=8, output_stride=16, num_classes=10
    )
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    safetensors.numpy.save_file(weights(state), inputs / "weights.safetensors")


def _example(number: int) -> dict:
    """Return a record of ClickMe with blocks of 32 pixels as image and map."""
    values = (noise(8, 8, 4, seed=number) * 256).astype(np.uint8).repeat(32, 0).repeat(32, 1)
    return encode_example(values[..., :3], values[..., 3], number)
