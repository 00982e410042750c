"""What jobs ask for: GPUs, memory, time, and which of them share one job of a cluster. No result depends on it."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from inspect import signature

from camstudy.core.parts import PART
from camstudy.metrics.scoring import FAMILIES
from camstudy.pipeline.job import count_gpus
from camstudy.pipeline.resources import estimate, request
from camstudy.pipeline.wildcards import Wildcards
from camstudy.study.study import Study


class Jobs:
    """The resources of a study's jobs, by the table `resources` of its configuration."""

    def __init__(self, study: Study) -> None:
        self.study, self.config = study, study.config
        self._is_grouped = cache(self._takes_minutes)
        self._requested: tuple[object, dict[str, int]] = (None, {})

    @cached_property
    def _gpus_here(self) -> int:
        return count_gpus()

    def gpus(self, wildcards: Wildcards | None = None) -> int:
        """Resource `gpu`: 1 for a job that needs one. `auto` goes by the machine that plans."""
        device = self.config["device"]
        return min(self._gpus_here, 1) if device == "auto" else int(device == "cuda")

    def training_gpus(self, wildcards: Wildcards) -> int:
        """Resource `gpu` of a training: what its recipe says; with `auto`, what there are and divides its batch."""
        recipe = self.study.catalog["models"][wildcards.model]["train"]
        auto = self.config["device"] == "auto"
        most = min(recipe["gpu"], self._gpus_here) if auto else recipe["gpu"] * self.gpus()
        images = recipe["batch_size"] // recipe["accumulate"]
        return max((n for n in range(1, most + 1) if images % n == 0), default=0)

    def memory(self, rule: str) -> Callable[[Wildcards, int], int]:
        """Resource `mem_mb`: what a job of a rule is estimated to need, more of it at each attempt."""
        return self._asked(rule, "mem_mb")

    def minutes(self, rule: str) -> Callable[[Wildcards, int], int]:
        """Resource `runtime`: as for `memory`."""
        return self._asked(rule, "runtime")

    def is_brief(self, rule: str, jobs: Iterable[Mapping[str, str]]) -> bool:
        """Whether a rule's jobs, given by their wildcards, are so short that they run beside Snakemake on a cluster."""
        seconds = [self._estimate(rule, job, gpu=True) for job in jobs]
        return max(seconds, default=0) <= self.config["local_seconds"]

    def group(self, wildcards: Wildcards) -> str | None:
        """Group of a step on a GPU: all steps of a model that take minutes, or the parts of a method that do.

        None leaves the step a job of its own, as everywhere but on a cluster.
        """
        if not self.config["group_minutes"]:
            return None
        if self._is_grouped(wildcards.model):
            return wildcards.model
        part = re.match(r"/(\d+)-", getattr(wildcards, "part", ""))
        if part is None:
            return None
        protocol = getattr(wildcards, "protocol", None)
        rule = "score_on_model" if protocol else "explain"
        # Of a whole part, as the last one is counted among the others.
        job = dict(wildcards.items()) | {"part": f"/{0:05d}-{PART - 1:05d}"}
        seconds = self._estimate(rule, job, gpu=bool(self.gpus()))
        together = max(1, int(60 * self.config["resources"]["minutes_per_job"] / seconds))
        if together == 1:
            return None
        number = int(part[1]) // PART // together
        return "-".join(filter(None, [wildcards.dataset, wildcards.model, wildcards.method, protocol, str(number)]))

    def _asked(self, rule: str, what: str) -> Callable[[Wildcards, int], int]:
        def asked(wildcards: Wildcards, attempt: int) -> int:
            return self._request(rule, wildcards, attempt)[what]

        # Snakemake asks for it several times a job.
        asked.__signature__ = signature(asked)  # type: ignore[attr-defined]
        return asked

    def _request(self, rule: str, wildcards: Wildcards, attempt: int) -> dict[str, int]:
        # Memory and time are asked for one after the other.
        job = rule, attempt, *wildcards.items()
        if job != self._requested[0]:
            images_of = self.study.expected_images
            found = request(self.config, rule, wildcards, attempt, gpu=bool(self.gpus()), images_of=images_of)
            self._requested = job, found
        return self._requested[1]

    def _estimate(self, rule: str, wildcards: Mapping[str, str], *, gpu: bool) -> float:
        """Return how many seconds a job takes."""
        return estimate(self.config, rule, wildcards, gpu=gpu, images_of=self.study.expected_images).seconds

    def _takes_minutes(self, model: str) -> bool:
        """Whether all that the study does on a GPU with a model takes minutes, from its training on."""
        study, recipe = self.study, self.study.catalog["models"][model]["train"]
        if model not in study.models or not recipe or recipe["gpu"] > 1:
            return False
        methods = dict.fromkeys([*study.methods, *(study.swept() if study.shows("sweep") else []), *study.stages()])
        rules: list[tuple[str, str | None]] = [("explain", None)]
        rules += [("score_on_model", study.protocols[name]) for name in study.families if FAMILIES[name].on_model]
        rules += [("time_method", study.protocols["cost"])] if study.shows("timing") else []
        steps: list[tuple[str, dict]] = [("train", {})]
        steps += [("prediction", {"dataset": name}) for name in study.predicted()]
        steps += [
            (rule, {"dataset": study.dataset, "method": method, "protocol": name})
            for rule, name in rules
            for method in methods
            if study.suits(model, method)
        ]
        gpu = bool(self.gpus())
        seconds = sum(self._estimate(rule, {"model": model, **job}, gpu=gpu) for rule, job in steps)
        return seconds <= 60 * self.config["group_minutes"]
