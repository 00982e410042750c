"""What the head checks before any job: registered names, results of other origin, how Snakemake was started."""

import copy
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from camstudy.core.errors import CamstudyError
from camstudy.explain.methods import METHODS, bind
from camstudy.figures import FIGURES
from camstudy.pipeline.checking import refuse_known_missing_stages
from camstudy.pipeline.disk import check_folders
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.job import count_gpus
from camstudy.pipeline.listings import Listings
from camstudy.pipeline.records import complaint, find_unrecorded
from camstudy.pipeline.results import results
from camstudy.pipeline.sources import Sources
from camstudy.study.catalog import catalog_files, with_catalogs
from camstudy.study.checks import validate
from camstudy.study.claims import refuse_taken
from camstudy.study.classes import refuse_other_classes
from camstudy.study.plugins import add_plugins
from camstudy.study.protocols import metric_names, shipped
from camstudy.study.registered import Registered
from camstudy.study.study import Study
from camstudy.study.written import Places, Written
from camstudy.tables import TABLES

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

# Set by `make records`, which is about to accept the equal ones.
ACCEPTING = "CAMSTUDY_ACCEPTING_RECORDS"
# Set by `plan` for the process in which it asks Snakemake what is to be done.
PLANNING = "CAMSTUDY_PLANNING"


def registered(folder: str | Path) -> Registered:
    """Return the names that a configuration may use; ``folder`` is the workflow's."""
    kinds = {name: "controls" if method.needs == "dataset" else "methods" for name, method in METHODS.items()}
    return {
        "bind": bind,
        "methods": [name for name, kind in kinds.items() if kind == "methods"],
        "controls": [name for name, kind in kinds.items() if kind == "controls"],
        "references": {name: method.reference for name, method in METHODS.items()},
        "arrays": {name: [*method.arrays] for name, method in METHODS.items()},
        "rules": [script.stem for script in Path(folder, "scripts").glob("*.py")] + ["score_on_model"],
        "families": {
            **{name: record.metrics for name, record in TABLES.items()},
            **{name: record.metrics for name, record in FIGURES.items()},
        },
        "variants": {name: method.variant for name, method in METHODS.items() if method.variant},
        "attention": [name for name, method in METHODS.items() if method.attention],
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
    places = Places(copy.deepcopy(config), [*catalog_files(folder), *files])
    add_plugins(config, files, places)
    if not is_job:
        # A key that stands twice, for one: of two, what reads the file has kept the second.
        _ = [Written(file) for file in files]
    whole = with_catalogs(config, folder)
    config.update(validate(whole, registered(folder), check_files=not is_planned(), where=places))
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


def refuse_different(study: Study, identity: Identities) -> None:
    """Raise `CamstudyError` where results that Snakemake has no record of were made otherwise than planned now."""
    if os.environ.get(ACCEPTING):
        return
    found = find_unrecorded(results(study, identity))
    if found.different:
        raise CamstudyError(complaint(found))


def is_planned() -> bool:
    """Whether the study is planned only, which takes none of its files: by `snakemake plan`, or what that starts."""
    # Snakemake knows its targets when it has read the rules.
    if "plan" in sys.argv[1:]:
        os.environ[PLANNING] = "1"
    return PLANNING in os.environ


def check_device(workflow: "Workflow", device: str) -> None:
    """Raise `CamstudyError` where jobs of this machine are to use a GPU, and it has none."""
    jobs = workflow.persistence.dag.needrun_jobs()
    if device != "cuda" or not workflow.local_exec or not any(job.resources.get("gpu") for job in jobs):
        return
    # Importing torch takes seconds: where the driver of NVIDIA has its files, jobs will tell.
    if count_gpus() and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        return
    import torch

    if not torch.cuda.is_available():
        raise CamstudyError(
            f"`device: cuda`, but torch {torch.__version__} finds no GPU on this machine. Check the driver "
            "(`nvidia-smi`); or compute on the CPU with `--config device=cpu`, or on a cluster with `--profile slurm`"
        )


def check_places(workflow: "Workflow") -> None:
    """Raise `CamstudyError` where a file lies in the place of a folder that a job of this run is to write into."""
    jobs = workflow.persistence.dag.needrun_jobs()
    check_folders(file for job in jobs for file in (*job.output, *job.log, *filter(None, [job.benchmark])))


def wrong_triggers(workflow: "Workflow") -> str:
    """Return what to say where Snakemake was started without a profile, which says what makes results anew."""
    extra = {str(trigger) for trigger in workflow.rerun_triggers} & {"code", "input"}
    if not extra:
        return ""
    return (
        f"Snakemake goes by {' and '.join(sorted(extra))} here, too, and may make anew what has not changed: start it "
        "with `--profile profiles/local`, or with `--profile slurm` on a cluster"
    )
