"""A user's mistakes as Snakemake tells them: the message alone; and what was asked for by a name that nothing has."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from snakemake.exceptions import InputFunctionException
from snakemake_interface_common.exceptions import ApiError

from camstudy.core.errors import CamstudyError, did_you_mean, unknown
from camstudy.core.names import CONTROL
from camstudy.figures import FIGURES
from camstudy.pipeline.results import Nameless, results
from camstudy.study.study import Study
from camstudy.tables import TABLES

if TYPE_CHECKING:
    from snakemake.dag import DAG
    from snakemake.rules import Rule
    from snakemake.workflow import Workflow

WILDCARD = re.compile(r"\{(\w+)[^}]*\}")


class Mistake(ApiError):
    """An error of which Snakemake prints the message alone: the place in a rule file is not the user's."""

    # Where it was raised, Snakemake would show.
    __traceback__ = property(lambda self: None, lambda self, value: None)


def refuse_unknown_targets(dag: "DAG", study: Study) -> None:
    """Raise `CamstudyError` for targets, and rules or files named by other options, that no rule makes."""
    workflow, settings = dag.workflow, dag.workflow.dag_settings
    asked = [*settings.targets, *settings.forcerun, *settings.until, *settings.omit_from]
    mistakes = [text for target in dict.fromkeys(asked) if (text := _mistake(workflow, study, target))]
    mistakes += [
        f"`{target}`: the rule makes many files; name one, such as {_example(workflow, study, target)}"
        for target in settings.targets
        if workflow.is_rule(target) and workflow.get_rule(target).has_wildcards()
    ]
    if mistakes:
        raise CamstudyError("\n  ".join(mistakes))


def unknown_rules(workflow: "Workflow") -> list[str]:
    """Return a line for each rule that `--set-resources` or `--set-threads`, or a profile, names in vain."""
    stated = workflow.resource_settings
    named = [*stated.overwrite_resources, *stated.overwrite_threads]
    rules = [rule.name for rule in workflow.rules]
    return [
        f"no rule `{name}`{did_you_mean(name, rules)}: what is set for it (--set-resources, --set-threads) does nothing"
        for name in dict.fromkeys(named)
        if name not in rules
    ]


def _mistake(workflow: "Workflow", study: Study, target: str) -> str | None:
    """Return what is wrong with a target; None where a rule makes it or has its name."""
    path = os.path.normpath(target)
    if workflow.is_rule(target):
        return None
    found: list[list[str]] = []
    for rule, names in _matches(workflow, path):
        # Weights that ship are called like no model of the catalogue.
        wrong = [] if rule.name == "export_demo_weights" else list(_unknown(study, names))
        made = rule.is_producer(path)
        if made and not wrong:
            wrong = list(_refused(rule, names))
            if not wrong:
                return None
        if made or wrong:
            found.append(wrong)
    if found:
        return f"`{target}`: {'; '.join(sorted(found, key=len)[0])}"
    rules = [rule.name for rule in workflow.rules]
    near = did_you_mean(path, [*rules, *(result for result, _ in results(study, Nameless()))])
    if not near.startswith(", did"):
        valid = [rule.name for rule in workflow.rules if not rule.has_wildcards()]
        near = f"; name a rule ({', '.join(valid)}), or a file, such as results/studies/{study.name}/scores.parquet"
    return f"`{target}`: no rule makes it{near}"


def _matches(workflow: "Workflow", path: str) -> Iterator[tuple["Rule", dict[str, str]]]:
    """Yield the rules that would make a file if its names were known, and these names by wildcard."""
    for rule in workflow.rules:
        for output in map(str, rule.output):
            literal = [re.escape(part) if index % 2 == 0 else part for index, part in enumerate(WILDCARD.split(output))]
            seen: set[str] = set()
            for index in range(1, len(literal), 2):
                name = literal[index]
                text = r"(?:/\d+-\d+)?" if name == "part" else "[^/]+"
                literal[index] = f"(?P={name})" if name in seen else f"(?P<{name}>{text})"
                seen.add(name)
            if match := re.fullmatch("".join(literal), path):
                yield rule, match.groupdict()


def _unknown(study: Study, names: Mapping[str, str]) -> Iterator[str]:
    kinds = {kind.removesuffix("s"): entries for kind, entries in study.catalog.items()}
    valid = {
        **kinds,
        "model": [*kinds["model"], CONTROL],
        "study": [study.name],
        "table": TABLES,
        "figure": FIGURES,
    }
    for kind, name in names.items():
        if kind in valid and name not in valid[kind]:
            yield str(unknown(kind, name, valid[kind]))


def _refused(rule: "Rule", names: dict[str, str]) -> Iterator[str]:
    """Yield what the rule itself has against making its file with these names."""
    try:
        rule.expand_input(names)
    except InputFunctionException as error:
        if not isinstance(error.__context__, CamstudyError):
            raise
        yield str(error.__context__)


def _example(workflow: "Workflow", study: Study, rule: str) -> str:
    made = (path for path, _ in results(study, Nameless()) if workflow.get_rule(rule).is_producer(path))
    return next(made, str(workflow.get_rule(rule).output[0]))
