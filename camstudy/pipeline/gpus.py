"""GPUs as sites ask SLURM for them, of a model (`gpu=a100:1`) or by `gres`: what jobs were promised, what is asked."""

import re
from collections.abc import Iterable, MutableMapping

TYPED = re.compile(r"([A-Za-z0-9_.]+):(\d+)")


def promised(resources: object) -> int:
    """Return the number of GPUs that a job was scheduled with.

    ``resources`` are those that Snakemake gives to scripts: ``gpu`` is a number, or a model with a number such as
    `a100:2`. Where it is 0 or missing, ``gres`` tells: `gpu`, `gpu:2`, `gpu:a100` and `gpu:a100:2`.
    """
    gpu, gres = getattr(resources, "gpu", 0), getattr(resources, "gres", None) or ""
    if gpu:
        return _number(str(gpu).split(":"))
    asked = [part.strip().split(":") for part in gres.split(",")]
    return sum(_number(kind) for name, *kind in asked if name == "gpu")


def name_models(stated: Iterable[MutableMapping]) -> None:
    """Say of typed GPUs, `gpu=a100:1`, model and number apart, in place: ``gpu=1`` and ``gpu_model=a100``.

    ``stated`` are the resources that ``--set-resources`` gives to rules. Version 2.8 of SLURM's executor submits both
    spellings alike, but its jobs, and what adds up the resources of grouped steps, need a number.
    """
    for resources in stated:
        raw = str(resources["gpu"].raw) if "gpu" in resources else ""
        if found := TYPED.fullmatch(raw):
            resources["gpu_model"], resources["gpu"] = found[1], int(found[2])


def _number(kind: list[str]) -> int:
    return int(kind[-1]) if kind and kind[-1].isdigit() else 1
