# The study that the rules work on, checked, and what they ask of it; wildcard constraints. No rules here.
import os
import sys
from pathlib import Path

from snakemake.io import regex_from_filepattern, strip_wildcard_constraints

# The workflow's own folder, which need not be the one it runs in.
FOLDER = Path(workflow.current_basedir).parents[1]
sys.path.insert(0, str(FOLDER))

from camstudy.core.errors import CamstudyError
from camstudy.data.sources import has_looks
from camstudy.pipeline.bookkeeping import keep_books
from camstudy.pipeline.gpus import name_models
from camstudy.pipeline.head import check_device, check_places, read_study, wrong_triggers
from camstudy.pipeline.inputs import Inputs
from camstudy.pipeline.job import share_library
from camstudy.pipeline.jobs import Jobs
from camstudy.pipeline.links import see_dangling_links
from camstudy.pipeline.mistakes import Mistake, refuse_unknown_targets, unknown_rules
from camstudy.pipeline.owner import take_results
from camstudy.pipeline.orphans import cancel_orphans, recorded_jobs
from camstudy.pipeline.pace import Pace, finished, note
from camstudy.pipeline.planning import note_signatures, plan_fast
from camstudy.pipeline.terminal import follow
from camstudy.study.study import is_drawn, is_photographs

share_library()
keep_books(
    lambda dag: refuse_unknown_targets(dag, STUDY),
    lambda dag: follow(dag, STUDY, pace, gpu=bool(JOBS.gpus())),
)
plan_fast()
see_dangling_links()
# Before the rules are read, which take over what is set for them.
name_models(workflow.resource_settings.overwrite_resources.values())


resource_scopes:
    in_turn="local",


try:
    # In place: scripts get this very object.
    STUDY, IDENTITY = read_study(config, workflow.configfiles, FOLDER, is_job=not workflow.is_main_process)
except CamstudyError as error:
    raise Mistake(str(error)) from None
INPUTS, JOBS = Inputs(STUDY, IDENTITY.corrected), Jobs(STUDY)
# Nothing to ask for each job, where steps are jobs of their own.
GROUP = JOBS.group if config["group_minutes"] else None


if config["group_minutes"]:
    # Steps that are grouped into one job take turns, so that it asks for what one needs. `--resources in_turn=1` would
    # do for the head, but is not handed to its jobs, which add up again what they asked for.
    workflow.register_resource("in_turn", 1)


onstart:
    # Not in jobs and not in dry runs; the lock is held.
    try:
        check_device(workflow, config["device"])
        check_places(workflow)
        take_results(os.getcwd())
        orphans = cancel_orphans(recorded_jobs(workflow), os.getcwd())
    except CamstudyError as error:
        raise Mistake(str(error)) from None
    for complaint in unknown_rules(workflow):
        logger.warning(complaint)
    if orphans:
        logger.info(f"Cancelled SLURM jobs of an earlier run on the same files: {', '.join(orphans)}")


onsuccess:
    note(config, benchmarks(), STUDY.expected_images)


onerror:
    note(config, benchmarks(), STUDY.expected_images)
    # Whatever is waited for has ended. An interrupt may leave jobs: Snakemake forgets them while it asks for states.
    try:
        orphans = cancel_orphans(recorded_jobs(workflow), os.getcwd(), timeout=60)
    except CamstudyError as error:
        logger.error(str(error))
    else:
        if orphans:
            logger.info(f"Cancelled SLURM jobs that the run has left: {', '.join(orphans)}")


wildcard_constraints:
    # One path component each, and the part of a dataset's images that a job takes: `/00000-01023`, or nothing.
    dataset="[^/]+",
    model="[^/]+",
    method="[^/]+",
    study="[^/]+",
    part="(/[0-9]+-[0-9]+)?",


def targets(wildcards):
    """The study's tables and figures, and the configuration beside them."""
    if complaint := wrong_triggers(workflow):
        logger.warning(complaint)
    return INPUTS.targets()


def protocols(family):
    """Wildcard constraint: the catalogue's protocols of a family."""
    return STUDY.names("protocols", lambda entry: entry["family"] == family)


def first_outputs():
    """A regular expression for the first output of each rule so far; it tells a job's wildcards."""
    return {rule.name: regex_from_filepattern(str(rule.output[0])) for rule in workflow.rules if rule.output}


def benchmarks():
    """A regular expression for the benchmark of each rule, and the rule's first output."""
    rules = [each for each in workflow.rules if each.benchmark and each.output]
    outputs = {each.name: strip_wildcard_constraints(str(each.output[0])) for each in rules}
    return {each.name: (regex_from_filepattern(str(each.benchmark)), outputs[each.name]) for each in rules}


def pace():
    """What jobs take on this machine."""
    return Pace(finished(config, benchmarks(), STUDY.expected_images).values(), gpu=bool(JOBS.gpus()))
