"""GPUs as sites ask for them: what SLURM's executor submits for each spelling, and what the job makes of it."""

import shlex
from types import SimpleNamespace

import pytest
import torch
from snakemake.cli import parse_set_resources
from snakemake.iocontainers import ResourceList
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_executor_plugin_slurm_jobstep import get_gpu_setting

from camstudy.core.errors import CamstudyError
from camstudy.pipeline.gpus import name_models, promised
from camstudy.pipeline.job import torch_device

# What is set for a rule, what `sbatch` and, in the job, `srun` are asked for, and how many GPUs that promises.
SPELLINGS = [
    (["gpu=1"], ["--gpus=1"], "--gpus=1", 1),
    (["gpu=2"], ["--gpus=2"], "--gpus=2", 2),
    (["gpu=a100:1"], ["--gpus=a100:1"], "--gpus=1", 1),
    (["gpu=a100_80gb:4"], ["--gpus=a100_80gb:4"], "--gpus=4", 4),
    (["gpu=1", "gpu_model=a100"], ["--gpus=a100:1"], "--gpus=1", 1),
    (["gpu=0", "gres=gpu"], ["--gres=gpu"], "", 1),
    (["gpu=0", "gres=gpu:2"], ["--gres=gpu:2"], "", 2),
    (["gpu=0", "gres=gpu:a100:4"], ["--gres=gpu:a100:4"], "", 4),
    (["gpu=0", "gres=gpu:a100"], ["--gres=gpu:a100"], "", 1),
    (["gpu=0"], [], "", 0),
    (["gpu=0", "gres=shard:3"], ["--gres=shard:3"], "", 0),
]


@pytest.mark.parametrize(("stated", "submitted", "stepped", "count"), SPELLINGS)
def test_every_spelling_reaches_slurm_and_the_job(stated, submitted, stepped, count):
    parsed = parse_set_resources([f"train:{text}" for text in stated])
    name_models(parsed.values())
    # As evaluated; of texts, Snakemake's evaluation returns the text.
    evaluated = {name: resource.raw for name, resource in parsed["train"].items()}
    job = SimpleNamespace(resources=ResourceList(fromdict=evaluated))
    assert shlex.split(set_gres_string(job)) == submitted
    assert get_gpu_setting(job) == stepped
    assert promised(SimpleNamespace(**evaluated)) == count


def test_other_resources_and_numbers_by_expression_stay_as_they_are():
    stated = ["train:gpu=min(2, attempt)", "train:slurm_partition=gpu", "explain:mem_mb=4000"]
    parsed = parse_set_resources(stated)
    before = {rule: {name: it.raw for name, it in resources.items()} for rule, resources in parsed.items()}
    name_models(parsed.values())
    assert {rule: {name: it.raw for name, it in resources.items()} for rule, resources in parsed.items()} == before


@pytest.mark.parametrize(("gpu", "count"), [("a100:2", 2), ("a100", 1), ("2", 2), (3, 3)])
def test_a_job_understands_typed_gpus_even_where_nobody_took_them_apart(gpu, count):
    assert promised(SimpleNamespace(gpu=gpu)) == count


def test_a_job_without_any_is_promised_none():
    assert promised(SimpleNamespace()) == 0
    assert promised(SimpleNamespace(gpu=0, gres=None)) == 0


@pytest.fixture
def _two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_two_gpus")
@pytest.mark.parametrize("setting", ["auto", "cuda"])
@pytest.mark.parametrize(
    "resources", [{"gpu": "a100:1"}, {"gpu": 1, "gpu_model": "a100"}, {"gpu": 0, "gres": "gpu:a100:2"}]
)
def test_a_promised_gpu_is_used_however_it_was_asked_for(setting, resources):
    assert torch_device(setting, SimpleNamespace(**resources), 1) == torch.device("cuda")


@pytest.mark.usefixtures("_two_gpus")
@pytest.mark.parametrize("resources", [{"gpu": "a100:4"}, {"gpu": 0, "gres": "gpu:a100:4"}])
def test_fewer_than_promised_are_an_error_however_they_were_asked_for(resources):
    with pytest.raises(CamstudyError, match="scheduled on 4 GPUs, but torch finds 2 "):
        torch_device("cuda", SimpleNamespace(**resources), 1)
