"""What the head checks before any job: registered names, results of other origin, how Snakemake was started."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from camstudy.core.errors import CamstudyError
from camstudy.explain.methods import METHODS, bind
from camstudy.figures import FIGURES
from camstudy.pipeline import paths
from camstudy.pipeline.checking import refuse_known_missing_stages
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.listings import Listings
from camstudy.pipeline.records import complaint, find_unrecorded
from camstudy.pipeline.sources import Sources
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate
from camstudy.study.claims import refuse_taken
from camstudy.study.classes import refuse_other_classes
from camstudy.study.plugins import add_plugins
from camstudy.study.protocols import metric_names, shipped
from camstudy.study.study import Study
from camstudy.tables import TABLES

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

# Set by `make records`, which is about to accept the equal ones.
ACCEPTING = "CAMSTUDY_ACCEPTING_RECORDS"


def registered(folder: str | Path) -> dict[str, object]:
    """Return the names that a configuration may use; ``folder`` is the workflow's."""
    kinds = {name: "controls" if method.needs == "dataset" else "methods" for name, method in METHODS.items()}
    return {
        "bind": bind,
        **{kind: [name for name, its in kinds.items() if its == kind] for kind in ("methods", "controls")},
        "references": {name: method.reference for name, method in METHODS.items()},
        "rules": [script.stem for script in Path(folder, "scripts").glob("*.py")] + ["score_on_model"],
        "families": {name: record.metrics for name, record in [*TABLES.items(), *FIGURES.items()]},
        "variants": {name: method.variant for name, method in METHODS.items() if method.variant},
        "protocols": shipped(),
        "metrics": metric_names,
    }


def read_study(
    config: dict, files: Sequence[str | Path], folder: str | Path, *, is_job: bool = False
) -> tuple[Study, Identities]:
    """Return a study and the identities of its results, after every check there is; ``config`` is completed in place.

    Parameters
    ----------
    config : the configuration as Snakemake has read it
    files : the files that it was read from
    folder : the workflow's own, which has the catalogues
    is_job : whether this is one of a head's jobs, which does not look at what lies in results/ once more
    """
    add_plugins(config, files)
    config.update(validate(with_catalogs(config, folder), registered(folder)))
    study, identity, listings = identified(config)
    # What other studies have made under a protocol's name is not replaced by something else.
    refuse_taken(config, study.used_protocols())
    if not is_job:
        refuse_other_classes(config, listings.listing)
        refuse_different(study, identity)
        refuse_known_missing_stages(study, identity)
    return study, identity


def identified(config: Mapping) -> tuple[Study, Identities, Listings]:
    """Return the study of a complete configuration, the identities of its results, what is known of its datasets."""
    # How many images a dataset has is known by what was prepared under its identity, which the study's names make.
    study = Study(config, lambda: listings)
    identity = Identities(study, Sources(study))
    listings = Listings(study.catalog["datasets"], identity.dataset)
    return study, identity, listings


def results(study: Study, identity: Identities) -> Iterator[tuple[str, str]]:
    """Yield path and identity of all that a study's tables and figures are made from, and of these themselves."""
    data = study.dataset
    for name in study.datasets():
        folder = study.shard_folder(name)
        yield from (
            (paths.shard(folder, number), identity.shard(folder, number)) for number in study.shard_numbers(name)
        )
        yield paths.dataset(name), identity.dataset(name)
    for model in study.models:
        weights = study.catalog["models"][model]["weights"]
        if isinstance(weights, Mapping) and "model" not in weights:
            yield paths.weights(model), identity.weights(model)
        yield paths.model(model), identity.model(model)
        for name in study.predicted():
            yield paths.prediction(name, model), identity.prediction(name, model)
    if study.reaches_ceiling():
        yield paths.ceiling(data), identity.ceiling(data)
    for model, method in study.maps():
        for part in study.map_parts(data, model, method):
            yield paths.heatmaps(data, model, method, part), identity.explanation(data, model, method)
    for family in study.families:
        protocol = study.protocols[family]
        for model, method in study.maps(family):
            for part in study.score_parts(data, family):
                yield paths.scores(data, model, method, protocol, part), identity.scores(data, model, method, protocol)
    yield paths.study(study.name, "scores.parquet"), identity.aggregate("scores")
    for table in study.config["tables"]:
        yield paths.study(study.name, f"tables/{table}.csv"), identity.table(table)
    for figure in study.config["figures"]:
        drawn = identity.map_figure if FIGURES[figure].needs == "maps" else identity.figure
        yield paths.study(study.name, f"figures/{figure}.png"), drawn(figure)


def refuse_different(study: Study, identity: Identities) -> None:
    """Raise `CamstudyError` where results that Snakemake has no record of were made otherwise than planned now."""
    if os.environ.get(ACCEPTING):
        return
    found = find_unrecorded(results(study, identity))
    if found.different:
        raise CamstudyError(complaint(found))


def wrong_triggers(workflow: "Workflow") -> str:
    """Return what to say where Snakemake was started without a profile, which says what makes results anew."""
    extra = {str(trigger) for trigger in workflow.rerun_triggers} & {"code", "input"}
    if not extra:
        return ""
    return (
        f"Snakemake goes by {' and '.join(sorted(extra))} here, too, and may make anew what has not changed: start it "
        "with `--profile profiles/local`, or with `--profile slurm` on a cluster"
    )
