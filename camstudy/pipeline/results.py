"""All results of a study: where they lie, and which identity they are to have."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path

from camstudy.data.archives import archives_of, place_of
from camstudy.figures import FIGURES
from camstudy.pipeline import paths
from camstudy.pipeline.identities import Identities
from camstudy.study.study import Study


class Nameless:
    """Stands for the identities where only the paths matter."""

    def __getattr__(self, name: str) -> Callable[..., str]:
        return lambda *names: ""


def results(study: Study, identity: Identities | Nameless) -> Iterator[tuple[str, str]]:
    """Yield path and identity of all that a study's tables and figures are made from, and of these themselves."""
    data = study.dataset
    for name in study.datasets():
        folder = study.shard_folder(name)
        yield from (
            (paths.shard(folder, number), identity.shard(folder, number)) for number in study.shard_numbers(name)
        )
        entry = study.catalog["datasets"][name]
        for file in archives_of(entry):
            place = place_of(entry)
            yield paths.archive(place, file), identity.archive(place, file)
        yield paths.dataset(name), identity.dataset(name)
        if identity.corrected(name) or Path(paths.fixations(name)).is_file():
            yield paths.fixations(name), identity.fixations(name)
    for model in study.models:
        weights = study.catalog["models"][model]["weights"]
        if isinstance(weights, Mapping) and "model" not in weights:
            yield paths.weights(model), identity.weights(model)
        yield paths.model(model), identity.model(model)
        for name in study.predicted():
            yield paths.prediction(name, model), identity.prediction(name, model)
    if study.reaches_ceiling():
        yield paths.ceiling(data), identity.ceiling(data)
    for model, method in study.stores():
        for part in study.map_parts(data, model, method):
            yield paths.heatmaps(data, model, method, part), identity.explanation(data, model, method)
    for family in study.families:
        protocol = study.protocols[family]
        for model, method in study.maps(family):
            for part in study.score_parts(data, family):
                yield paths.scores(data, model, method, protocol, part), identity.scores(data, model, method, protocol)
    swept = study.swept() if study.shows("sweep") else []
    again = [("sweep", pair) for pair in product(study.models, swept)]
    again += [(family, pair) for family in study.stage_families() for pair in product(study.models, study.stages())]
    for family, (model, method) in again:
        for part in study.map_parts(data, model, method):
            yield paths.heatmaps(data, model, method, part), identity.explanation(data, model, method)
        protocol = study.protocol(family)
        for part in study.score_parts(data, family):
            yield paths.scores(data, model, method, protocol, part), identity.scores(data, model, method, protocol)
    if study.shows("cost") or study.shows("timing"):
        protocol = study.protocol("cost")
        models = study.models if study.shows("cost") else ()
        yield from ((paths.cost(protocol, model), identity.cost(model, protocol)) for model in models)
        for model, method in study.maps(with_controls=False) if study.shows("timing") else ():
            yield paths.timing(protocol, data, model, method), identity.timing(data, model, method, protocol)
    yield paths.study(study.name, "scores.parquet"), identity.aggregate("scores")
    for table in study.config["tables"]:
        yield paths.study(study.name, f"tables/{table}.csv"), identity.table(table)
    for figure in study.config["figures"]:
        drawn = identity.map_figure if FIGURES[figure].needs == "maps" else identity.figure
        yield paths.study(study.name, f"figures/{figure}.png"), drawn(figure)
