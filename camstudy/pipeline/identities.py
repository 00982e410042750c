"""The identity of every result that a configuration asks for: the named views of its entries, its sources, its code.

Nothing is read here but what the caller's functions read: whatever stands in an identity is known when the study is
planned. Results are made of results, so that the identity of a map holds the digest of its model's, and so on.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import TYPE_CHECKING

from camstudy.core.code import revision
from camstudy.core.identity import digest, line, view
from camstudy.core.names import CONTROL
from camstudy.data.sources import LOOKING, LOOKS, SOURCES, has_items
from camstudy.explain.methods import METHODS, bind
from camstudy.figures import FIGURES
from camstudy.metrics.scoring import FAMILIES
from camstudy.models import timm_names
from camstudy.pipeline import views
from camstudy.pipeline.sources import Sources
from camstudy.study.counting import compared_alone
from camstudy.study.seeds import replicates
from camstudy.study.stated import resolved, settings, stated_by, stated_by_maps
from camstudy.study.study import STAGED, Study, is_photographs
from camstudy.tables import TABLES
from camstudy.training.terms import asked

if TYPE_CHECKING:
    from camstudy.study.registered import Record


class Identities:
    """The identities of a study's results, as `camstudy.core.identity.line` writes them.

    Parameters
    ----------
    study : whose results they are
    sources : what is known of files from outside
    revision : returns the revision of a unit of code
    """

    def __init__(self, study: Study, sources: Sources, revision: Callable[[str], str] = revision) -> None:
        self.study, self.sources, self._revision = study, sources, revision
        self._catalog = study.catalog
        self._made: dict[tuple[str, ...], str] = {}

    def _once(self, *key: str, make: Callable[[], str]) -> str:
        """Return what ``make`` returns, made once: a study of thousands of jobs has dozens of models and methods."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _code(self, *units: str) -> str:
        return ",".join(map(self._revision, units))

    def shard(self, dataset: str, number: int) -> str:
        """Return the identity of a TFRecord shard that is drawn or downloaded."""
        entry = self._catalog["datasets"][dataset]
        if entry["source"] == "digits":
            kept = [key for key in entry if key not in (*views.NOT_DATA, "licence", "class_names", "human_maps")]
            return line(
                code=self._code("make_digits"), entry=digest(view(entry, kept, "dataset digits")), number=str(number)
            )
        address, accepted = self.sources.shard(dataset, number)
        return line(code=self._code("fetch_shard"), address=digest(address), accepted=accepted)

    def archive(self, place: str, file: str) -> str:
        """Return the identity of an archive that is fetched: its address is in the name of its place."""
        return line(code=self._code("fetch_archive"), accepted=self.sources.archive(place, file))

    def dataset(self, name: str) -> str:
        """Return the identity of a prepared dataset."""

        def make() -> str:
            entry = self._catalog["datasets"][name]
            # What nobody says of human maps, no result shows.
            unstated = ("human_maps",) if entry.get("human_maps", "") is None else ()
            stated = [key for key in entry if key not in (*views.NOT_DATA, *unstated)]
            kept = view(entry, stated, f"dataset {entry['source']}")
            numbers, folder = self.study.shard_numbers(name), self.study.shard_folder(name)
            rule = "prepare_photographs" if is_photographs(entry) else "prepare_dataset"
            return line(
                code=self._code(rule, f"source:{entry['source']}"),
                content=self.sources.dataset(name),
                entry=digest(kept),
                # Where they are always there, a ceiling that is stated instead of measured changes nothing.
                halves="yes" if entry["human_ceiling"] == "from_halves" and not _has_halves(entry) else None,
                shards=digest([self.shard(folder, number) for number in numbers]) if numbers else None,
            )

        return self._once("dataset", name, make=make)

    def corrected(self, dataset: str) -> str:
        """Return what stands for fixations that were corrected since the dataset was prepared; nothing if none were."""
        return self._once("corrected", dataset, make=lambda: self.sources.fixations(dataset))

    def fixations(self, dataset: str) -> str:
        """Return the identity of such fixations."""
        data = digest(self.dataset(dataset))
        return line(code=self._code("prepare_fixations"), content=self.corrected(dataset), data=data)

    def _looks(self, dataset: str, *, wanted: bool = True) -> str | None:
        """Return the part of where people looked, beside that of the dataset, where results depend on it."""
        return digest(self.fixations(dataset)) if wanted and self.corrected(dataset) else None

    def check(self, model: str) -> str:
        """Return the identity of what a network is found to be, whatever its weights."""
        entry = self._catalog["models"][model]
        return line(
            code=self._code("check_model", *self._variants(entry)) + self._own_code(entry),
            architecture=digest(view(entry, views.ARCHITECTURE, "model")),
            input=self._input(entry),
            layer=digest(entry["target_layer"]) if entry["target_layer"] else None,
            # Only a network that is trained is run in training mode.
            trained="yes" if entry["train"] else None,
        )

    def weights(self, model: str) -> str:
        """Return the identity of weights that are fetched: the file's content, or its address."""
        entry = self._catalog["models"][model]
        stated = {key: value for key, value in entry["weights"].items() if key not in views.NOT_WEIGHTS}
        included = bool(entry["weights"].get("include_variant"))
        source, accepted = self.sources.weights(model)
        return line(
            code=self._code("fetch_weights", *self._variants(entry, included)) + self._own_code(entry),
            architecture=digest(
                view(entry, [key for key in views.ARCHITECTURE if included or key != "variant"], "model")
            ),
            source=digest(source),
            accepted=accepted,
            weights=digest(view({"weights": stated}, ("weights",), "model")),
        )

    def model(self, name: str) -> str:
        """Return the identity of a finished model, trained or assembled."""

        def make() -> str:
            entry = self._catalog["models"][name]
            weights, recipe = entry["weights"], entry["train"]
            if isinstance(weights, str):
                start = weights
            else:
                start = digest(self.model(weights["model"]) if "model" in weights else self.weights(name))
            made = {}
            if recipe:
                kept = {key: value for key, value in recipe.items() if key not in views.NOT_TRAINING}
                made = {
                    "training": digest(view({"train": kept}, ("train",), "model")),
                    "input": self._input(entry),
                    "data": digest(self.dataset(recipe["dataset"])),
                }
            terms = [f"term:{term}" for term in asked(recipe, entry["head"])] if recipe else []
            drawn = recipe or isinstance(weights, str) or entry["variant"]
            return line(
                code=self._code("train" if recipe else "assemble_model", *self._variants(entry), *terms)
                + self._own_code(entry),
                architecture=digest(view(entry, (*views.ARCHITECTURE, *views.HEAD), "model")),
                start=start,
                seed=str(entry["seed"]) if drawn else None,
                **made,
            )

        return self._once("model", name, make=make)

    def cost(self, model: str, protocol: str) -> str:
        """Return the identity of what a network costs, whatever its weights."""
        entry = self._catalog["models"][model]
        return line(
            code=self._code("cost", *self._variants(entry)) + self._own_code(entry),
            architecture=digest(view(entry, views.ARCHITECTURE, "model")),
            input=self._input(entry),
            # How long a method is repeated is nothing to a network.
            protocol=self._protocol(protocol, "batch_size", "repeats"),
        )

    def prediction(self, dataset: str, model: str) -> str:
        """Return the identity of what a model predicts for a dataset."""
        return line(code=self._code("prediction"), data=digest(self.dataset(dataset)), **self._seen(model, dataset))

    def explanation(self, dataset: str, model: str, method: str) -> str:
        """Return the identity of a method's maps; ``model`` is `control` for those that look at no model."""

        def make() -> str:
            entry = self._catalog["methods"][method]
            data = digest(self.dataset(dataset))
            if model == CONTROL:
                return line(
                    code=self._code("explain_control", f"method:{entry['method']}"),
                    data=data,
                    files=self.sources.maps(dataset, method) if entry["method"] == "files" else None,
                    fixations=self._looks(dataset, wanted=METHODS[entry["method"]].reference in LOOKING),
                    **self._method(method),
                )
            return line(
                code=self._code("explain", f"method:{entry['method']}"),
                data=data,
                layer=self._layer(model, method),
                **self._seen(model, dataset),
                **self._method(method),
            )

        return self._once("explanation", dataset, model, method, make=make)

    def timing(self, dataset: str, model: str, method: str, protocol: str) -> str:
        """Return the identity of how long a method takes."""
        entry = self._catalog["methods"][method]
        return line(
            code=self._code("time_method", f"method:{entry['method']}"),
            data=digest(self.dataset(dataset)),
            layer=self._layer(model, method),
            protocol=self._protocol(protocol),
            **self._seen(model, dataset),
            **self._method(method),
        )

    def ceiling(self, dataset: str) -> str:
        """Return the identity of the agreement between people."""
        stated = self._catalog["datasets"][dataset]["human_ceiling"]
        measured = stated == "from_halves"
        return line(
            code=self._code("human_ceiling"),
            ceiling=None if measured else digest(stated),
            data=digest(self.dataset(dataset)) if measured else None,
        )

    def scores(self, dataset: str, model: str, method: str, protocol: str) -> str:
        """Return the identity of scores under a protocol of any family."""

        def make() -> str:
            entry, stated = self._catalog["methods"][method], self._catalog["protocols"][protocol]
            needs, units = FAMILIES[stated["family"]].needs, [f"family:{stated['family']}"]
            made: dict[str, str | None] = {}
            if "method" in needs:
                units.append(f"method:{entry['method']}")
                made |= {"layer": self._layer(model, method), **self._method(method)}
            if {"maps", "raw_maps"} & {*needs}:
                maps = self.explanation(dataset, CONTROL if self.study.is_control(method) else model, method)
                made["maps"] = digest(maps)
            if "maps" in needs:
                made["postprocess"] = digest(view(entry, views.SCORING, "method"))
            if "model" in needs:
                made |= self._seen(model, dataset)
            if "prediction" in needs and model != CONTROL:
                made["prediction"] = digest(self.prediction(dataset, model))
            metrics = [f"metric:{name}" for name in stated.get("metrics", ())]
            return line(
                code=self._code("score", *units, *metrics),
                data=digest(self.dataset(dataset)),
                fixations=self._looks(dataset, wanted=not LOOKS.isdisjoint(needs)),
                protocol=self._protocol(protocol),
                **made,
            )

        return self._once("scores", dataset, model, method, protocol, make=make)

    def configuration(self) -> str:
        """Return the identity of the resolved configuration."""
        return line(code=self._code("record_study"), stated=digest(resolved(self.study.config)))

    def aggregate(self, what: str) -> str:
        """Return the identity of a long table, called as its file: `scores`, `sweep`, `curves` ..."""

        def make() -> str:
            study, name = self.study, self.study.dataset
            if what in ("scores", "seeds", "by_prediction"):
                split = what == "by_prediction"
                made_from = [
                    self.scores(name, model, method, study.protocols[family])
                    for family in (study.split_families() if split else study.families)
                    for model, method in study.maps(family, with_controls=not split)
                ]
                predicted = name if split else study.prediction_dataset
                made_from += [self.prediction(*each) for each in study.judged(predicted)]
            elif what == "similarity":
                made_from = [
                    self.explanation(name, model, method) for *pair, method in study.compared() for model in pair
                ]
            elif what == "sweep":
                pairs = [*product(study.models, study.swept())]
                made_from = [self.scores(name, model, method, study.protocols["sweep"]) for model, method in pairs]
            else:
                family = {**STAGED, **study.tables_beside()}[what]
                pairs = [*product(study.models, study.stages())] if what in STAGED else study.maps(family)
                made_from = [self.scores(name, model, method, study.protocol(family)) for model, method in pairs]
            if study.reaches_ceiling() and what in ("scores", "sweep", "layers", "by_prediction"):
                made_from.append(self.ceiling(name))
            stated = settings(study.config) if what != "curves" else {}
            if what == "similarity":
                entries = {method: self._catalog["methods"][method] for method in study.methods}
                stated["postprocess"] = {key: view(entry, views.SCORING, "method") for key, entry in entries.items()}
                stated["compared"] = study.compared()
            if what != "by_prediction" and not study.counts_all():
                stated["images"] = study.config["images"]
                made_from += [self.prediction(name, model) for model in study.models]
            if what == "seeds":
                stated["replicates"] = replicates(study.config)
            if what in ("scores", "seeds", "by_prediction"):
                stated["comparisons"] = [[pair["baseline"], pair["variant"]] for pair in study.config["comparisons"]]
            # Beside what was compared before there was a primary metric.
            if what in ("scores", "seeds") and (also := compared_alone(study.config)[1:]):
                stated["compared"] = also
            predicted = [study.prediction_dataset] if what in ("scores", "seeds") else []
            has_any = any(has_items(self._catalog["datasets"][dataset]) for dataset in (name, *predicted))
            return line(
                code=self._code(f"aggregate_{what}"),
                # Those that once were of all images, and of items one by one.
                counting="as_scores" if what in views.LATELY_COUNTED and (has_any or not study.counts_all()) else None,
                # Intervals and tests over images, not over their items, as they once were.
                items="by_image" if has_any and what != "curves" else None,
                made_from=digest(made_from),
                stated=digest(stated),
            )

        return self._once("aggregate", what, make=make)

    def table(self, name: str) -> str:
        """Return the identity of a table."""
        return self._drawn(TABLES[name], "make_table", f"table:{name}")

    def figure(self, name: str) -> str:
        """Return the identity of a figure that is drawn from scores."""
        return self._drawn(FIGURES[name], "draw_scores", f"figure:{name}")

    def map_figure(self, name: str) -> str:
        """Return the identity of a figure that is drawn from maps."""
        study, dataset = self.study, self.study.dataset
        made_from = [self.explanation(dataset, *pair) for pair in study.maps(with_controls=False)]
        if study.has_labels(dataset):
            made_from += [self.prediction(dataset, model) for model in study.models]
        if "masked" in FIGURES[name].sources and study.masks():
            pairs, protocol = study.maps("faithfulness", with_controls=False), study.protocol("faithfulness")
            made_from += [self.scores(dataset, *pair, protocol) for pair in pairs]
        return line(
            code=self._code("draw_maps", f"figure:{name}"),
            fixations=self._looks(dataset),
            made_from=digest(made_from),
            stated=digest(stated_by_maps(study.config, FIGURES[name])),
        )

    def _drawn(self, record: "Record", *units: str) -> str:
        study = self.study
        made_from = [self.aggregate("scores"), *(self.model(model) for model in study.models)]
        for source in study.sources(record):
            if source == "cost":
                made_from += [self.cost(model, study.protocols["cost"]) for model in study.models]
            elif source == "timing":
                pairs = study.maps(with_controls=False)
                made_from += [self.timing(study.dataset, *pair, study.protocols["cost"]) for pair in pairs]
            elif source == "published":
                made_from.append(self.sources.published())
            elif source != "images":  # of which the long table is made
                made_from.append(self.aggregate(source))
        stated = stated_by(study.config, record)
        return line(code=self._code(*units), made_from=digest(made_from), stated=digest(stated))

    def _seen(self, model: str, dataset: str) -> dict[str, str | None]:
        """Return the parts of a finished model and of what it gets to see of a dataset."""
        entry, data = self._catalog["models"][model], self._catalog["datasets"][dataset]
        return {"model": digest(self.model(model)), "input": self._input(entry, squares=not is_photographs(data))}

    def _input(self, entry: Mapping, *, squares: bool = True) -> str | None:
        """Return the part of how images are prepared, all of them squares or not."""
        seen, known = view(entry, views.INPUT, "model"), timm_names.facts(entry["arch"])
        # What timm says itself is in none, but for what results of earlier versions did not heed.
        if known.has_other_input:
            seen["timm"] = known.name
        if not squares and "crop_mode" not in entry["input"] and known.crop_mode != timm_names.MODE:
            seen["crop_mode"] = known.crop_mode
        return digest(seen) if seen else None

    def _layer(self, model: str, method: str) -> str | None:
        """Return the part of the target layer, where the model's entry names one and the method's no stage."""
        override = self._catalog["models"][model]["target_layer"]
        return digest(override) if override and self._catalog["methods"][method]["stage"] is None else None

    def _method(self, name: str) -> dict[str, str]:
        """Return the part of what decides a method's raw maps."""
        entry = self._catalog["methods"][name]
        bound = bind(entry["method"], entry["parameters"]).parameters
        chosen = view(bound, bound, f"parameters {entry['method']}")
        kept = view(entry, views.EXPLANATION, "method") | views.CORRECTED.get(entry["geometry"], {})
        return {"method": digest({**kept, "parameters": chosen})}

    def _protocol(self, name: str, *keys: str) -> str:
        """Return the part of a protocol, or of some of its keys."""
        entry = self._catalog["protocols"][name]
        keys = keys or tuple(key for key in entry if key not in views.NOT_PROTOCOL)
        return digest(view(entry, keys, f"protocol {entry['family']}"))

    def _variants(self, entry: Mapping, wanted: bool = True) -> list[str]:
        return [f"variant:{name}" for name in entry["variant"]] if wanted else []

    def _own_code(self, entry: Mapping) -> str:
        """Return the code of the user's own network and of objects in its arguments; nothing for installed packages."""
        found = self.sources.own_code(entry)
        return f",{found}" if found else ""


def _has_halves(entry: Mapping) -> bool:
    return "human_halves" in SOURCES[entry["source"]].truths(entry)
