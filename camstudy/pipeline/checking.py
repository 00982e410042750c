"""Checks of networks before they have weights: which jobs wait for them, and stages that a network lacks."""

from collections.abc import Callable, Mapping
from functools import cache

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import read_json
from camstudy.explain.stages import missing_stage
from camstudy.pipeline import paths
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.wildcards import Wildcards
from camstudy.study.study import Study


class Checks:
    """The record of a model's check as an input of the jobs that wait for it. Methods take wildcards.

    A check decides no result. What is there already, made as it is planned, waits for none: not when the code of
    checks changed, and not when it was made before there were any. Snakemake's `ancient` does not serve: it lets
    jobs run anew whose ancient input is missing, and does not look at others whose ancient input is made anew.
    """

    def __init__(self, identity: Identities) -> None:
        self._identity = identity
        self._is_done, self._is_made = cache(self._done), cache(self._made)

    def before_weights(self, wildcards: Wildcards) -> list[str]:
        """What the fetching of a model's weights waits for."""
        model = wildcards.model
        return self._before(model, paths.weights(model), lambda: self._identity.weights(model))

    def before_model(self, wildcards: Wildcards) -> list[str]:
        """What training and assembling wait for."""
        model = wildcards.model
        return self._before(model, paths.model(model), lambda: self._identity.model(model))

    def before_maps(self, wildcards: Wildcards) -> list[str]:
        """What explaining waits for, where a finished model gets another layer to explain; others wait themselves."""
        if not self._is_made(wildcards.model):
            return []
        names = wildcards.dataset, wildcards.model, wildcards.method
        return self._before(
            wildcards.model, paths.heatmaps(*names, wildcards.part), lambda: self._identity.explanation(*names)
        )

    def _before(self, model: str, result: str, identity: Callable[[], str]) -> list[str]:
        if self._is_done(model) or _identity_of(result) == identity():
            return []
        return [paths.check(model)]

    def _made(self, model: str) -> bool:
        return _identity_of(paths.model(model)) == self._identity.model(model)

    def _done(self, model: str) -> bool:
        return _identity_of(paths.check(model)) == self._identity.check(model)


def refuse_missing_stages(study: Study, model: str, found: Mapping) -> None:
    """Raise `CamstudyError` where the study explains stages of a model that it lacks.

    ``found`` is what `camstudy.explain.checking.check_network` returned. Models that the study does not explain, such
    as those to start from, may lack them.
    """
    if mistakes := _missing(study, model, found):
        raise CamstudyError("\n  ".join(mistakes))


def refuse_known_missing_stages(study: Study, identity: Identities) -> None:
    """Raise `CamstudyError` as `refuse_missing_stages` does, for all models whose network was checked before."""
    mistakes = []
    for model in study.models if study.staged() else ():
        # The record of another network tells nothing.
        if _identity_of(paths.check(model)) == identity.check(model):
            mistakes += _missing(study, model, read_json(paths.check(model)))
    if mistakes:
        raise CamstudyError("\n  ".join(mistakes))


def _missing(study: Study, model: str, found: Mapping) -> list[str]:
    asked = study.staged() if model in study.models else {}
    told = {
        name: missing_stage(found["network"], len(found["stages"]), stage)
        for name, stage in asked.items()
        if study.suits(model, name)
    }
    return [f"method `{name}` of model `{model}`: stage: {text}" for name, text in told.items() if text]


def _identity_of(record: str) -> str | None:
    """Return the identity that a record states; None where there is none, or nothing that can be read."""
    try:
        return read_json(record).get("identity")
    except CamstudyError:
        return None
