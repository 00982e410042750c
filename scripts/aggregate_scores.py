"""Aggregate the per-image scores of a study: means with confidence intervals, and paired comparisons."""

import pandas as pd

from camstudy.analysis.aggregate import Settings, compare, compare_with_control, summarize
from camstudy.analysis.counting import explained, read_counting
from camstudy.core.names import CONTROL
from camstudy.core.parts import read_tables, write_table
from camstudy.core.provenance import all_versions, read_json
from camstudy.explain.methods import METHODS
from camstudy.pipeline.job import step
from camstudy.study.counting import compared_alone
from camstudy.study.protocols import chosen
from camstudy.study.stated import settings

with step(snakemake):
    config, families = snakemake.config, {}
    for (family, *key), frame in read_tables(snakemake.params.maps, snakemake.input.scores).items():
        families.setdefault(family, {})[tuple(key)] = frame
    # None of images without labels.
    models = [(model, "") for model in config["models"]] if snakemake.input.prediction else []
    about_models = read_tables(models, snakemake.input.prediction)
    counting = read_counting(config, snakemake.input.correct)
    ceiling = read_json(snakemake.input.ceiling[0])["human_ceiling"] if snakemake.input.ceiling else None
    where = {"ceiling": ceiling, "settings": Settings.of(settings(config), snakemake.input.items_of_maps)}
    pairs = [(pair["baseline"], pair["variant"]) for pair in config["comparisons"]]
    planned = {tuple(key) for _, *key in snakemake.params.maps}
    # Methods that cannot explain all models.
    partly = [method for method in config["methods"] if not {(m, method) for m in config["models"]} <= planned]
    scores, comparisons = [], []
    for family, frames in families.items():
        on = where | {"dataset": config["dataset"], "protocol": chosen(config)[family]}
        scores.append(summarize(counting.frames(frames), **on))
        # Of correlations, those that tables show; of other families, all metrics.
        compared = compared_alone(config) if family == "agreement" else None
        tested = explained(frames, config["controls"])
        comparisons.append(compare(tested, pairs, **on, metrics=compared, partly=partly, counting=counting))
        # Whether a map says more of gaze than where people look in any case.
        for control in (name for model, name in frames if model == CONTROL):
            if METHODS[config["catalog"]["methods"][control]["method"]].reference == "fixation":
                about = {name: on[name] for name in ("dataset", "settings", "protocol")}
                comparisons.append(compare_with_control(frames, control, **about, counting=counting))
                break
    if about_models:
        where["settings"] = Settings.of(settings(config), snakemake.input.items_predicted)
        scores.append(summarize(about_models, dataset=config["prediction_dataset"] or config["dataset"], **where))
    table = pd.concat(scores, ignore_index=True)
    # Kept in the file; tables state where they differ.
    table.attrs["versions"] = all_versions(map(read_json, [*snakemake.input.scores, *snakemake.input.prediction]))
    write_table(snakemake.output.scores, table, snakemake.params.identity)
    write_table(snakemake.output.comparisons, pd.concat(comparisons, ignore_index=True), snakemake.params.identity)
