"""The inputs of rules and the targets of a study, where the rule's own pattern does not say them."""

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

from camstudy.analysis import BESIDE
from camstudy.core.damage import made_anew
from camstudy.core.errors import CamstudyError
from camstudy.core.names import CONTROL
from camstudy.data.archives import archives_of, place_of
from camstudy.data.sources import LOOKING, LOOKS, has_items
from camstudy.explain.methods import METHODS
from camstudy.figures import FIGURES
from camstudy.metrics.scoring import FAMILIES
from camstudy.pipeline import paths
from camstudy.pipeline.results import Nameless, results
from camstudy.pipeline.wildcards import Wildcards
from camstudy.study.study import Study
from camstudy.tables import TABLES

if TYPE_CHECKING:
    from camstudy.study.registered import Record


class Inputs:
    """What jobs of a study read, as records: large files lie beside them. Methods of one argument take wildcards."""

    def __init__(self, study: Study, corrected: Callable[[str], str] = lambda dataset: "") -> None:
        """``corrected`` says whether a dataset's fixations are others than when it was prepared."""
        self.study, self.catalog, self._corrected = study, study.catalog, corrected

    def shards(self, wildcards: Wildcards) -> list[str]:
        """Records of the shards that the workflow makes for a dataset; a user's own shards have none."""
        folder = self.study.shard_folder(wildcards.dataset)
        return [paths.shard(folder, number) for number in self.study.shard_numbers(wildcards.dataset)]

    def archives(self, wildcards: Wildcards) -> list[str]:
        """Records of the archives that are fetched for a dataset of photographs; none where `root` is given."""
        entry = self.catalog["datasets"][wildcards.dataset]
        return [paths.archive(place_of(entry), file) for file in archives_of(entry)]

    def start(self, wildcards: Wildcards) -> list[str]:
        """Record of the weights that a model starts from; nothing for one that starts at random."""
        weights = self.catalog["models"][wildcards.model]["weights"]
        if isinstance(weights, str):
            return []
        return [paths.model(weights["model"]) if "model" in weights else paths.weights(wildcards.model)]

    def training_data(self, wildcards: Wildcards) -> str:
        """Manifest of the dataset that a model trains on."""
        return paths.dataset(self.catalog["models"][wildcards.model]["train"]["dataset"])

    def heatmaps(self, wildcards: Wildcards) -> list[str]:
        """Manifests of the stores of a method's maps, opened as one; a control's are the same for all models."""
        model = CONTROL if self.study.is_control(wildcards.method) else wildcards.model
        return self._heatmaps(wildcards.dataset, model, wildcards.method)

    def evidence(self, wildcards: Wildcards) -> dict[str, list[str]]:
        """What a protocol's family scores: manifests of maps, records of the model and of what it predicts.

        Raises `CamstudyError` for a control under a family that explains a model anew.
        """
        dataset, model, method = wildcards.dataset, wildcards.model, wildcards.method
        family = FAMILIES[self.catalog["protocols"][wildcards.protocol]["family"]]
        if "method" in family.needs and self.study.is_control(method):
            raise CamstudyError(
                f"protocol `{wildcards.protocol}` explains models anew, and the control `{method}` explains none; ask "
                "for a method"
            )
        predicted = "prediction" in family.needs and model != CONTROL
        return {
            "heatmaps": self.heatmaps(wildcards) if family.on_maps else [],
            "model": [paths.model(model)] if family.on_model else [],
            "prediction": [paths.prediction(dataset, model)] if predicted else [],
            "fixations": [] if LOOKS.isdisjoint(family.needs) else self.fixations(dataset),
        }

    def fixations(self, dataset: str) -> list[str]:
        """Manifest of a dataset's fixations, where they were corrected since it was prepared; else it has them."""
        return [paths.fixations(dataset)] if self._corrected(dataset) else []

    def control_looks(self, wildcards: Wildcards) -> list[str]:
        """The same for a control that is made from where people looked; nothing for others."""
        method = METHODS[self.catalog["methods"][wildcards.method]["method"]]
        return self.fixations(wildcards.dataset) if method.reference in LOOKING else []

    def ceiling(self) -> list[str]:
        """What people reach among themselves, where maps are compared with theirs."""
        return [paths.ceiling(self.study.dataset)] if self.study.reaches_ceiling() else []

    def items(self, dataset: str) -> list[str]:
        """Manifest of a dataset whose images have several items, which says which; nothing for others."""
        return [paths.dataset(dataset)] if has_items(self.catalog["datasets"][dataset]) else []

    def predictions(self, dataset: str) -> list[str]:
        """Records of what the study's models predict for a dataset."""
        return [paths.prediction(dataset, model) for model in self.study.models]

    def correct(self) -> list[str]:
        """Records of what the models predict for the study's images, where it decides which of them count."""
        return [] if self.study.counts_all() else self.predictions(self.study.dataset)

    def models(self) -> list[str]:
        """Records of the study's models."""
        return [paths.model(model) for model in self.study.models]

    def scores(self, family: str, *, with_controls: bool = True) -> list[tuple[str, str, str]]:
        """Return (model, method, record) of a family's scores, several records where jobs share the images."""
        protocol, dataset = self.study.protocol(family), self.study.dataset
        return [
            (model, method, paths.scores(dataset, model, method, protocol, part))
            for model, method in self.study.maps(family, with_controls=with_controls)
            for part in self.study.score_parts(dataset, family)
        ]

    def compared_maps(self, role: str) -> list[tuple[str, str, str, str]]:
        """Return (baseline, variant, method, manifest) of the maps of each comparison's `baseline`, or `variant`."""
        return [
            (baseline, variant, method, manifest)
            for baseline, variant, method in self.study.compared()
            for manifest in self._heatmaps(self.study.dataset, {"baseline": baseline, "variant": variant}[role], method)
        ]

    def drawn_predictions(self) -> list[str]:
        """Records of the predictions that a figure of maps shows; none where images have no labels to predict."""
        return self.predictions(self.study.dataset) if self.study.has_labels(self.study.dataset) else []

    def all_scores(self) -> list[tuple[str, str, str, str]]:
        """Return (family, model, method, record) of all scores of the study's maps."""
        return [(family, *key) for family in self.study.families for key in self.scores(family)]

    def split_scores(self) -> list[tuple[str, str, str, str]]:
        """Return (family, model, method, record) of the scores that are split by what the models predict."""
        families = self.study.split_families()
        return [(family, *key) for family in families for key in self.scores(family, with_controls=False)]

    def swept_scores(self) -> list[tuple[str, str, str]]:
        """Return (model, method, record) of the threshold sweep's scores."""
        study = self.study
        return [
            (model, method, paths.scores(study.dataset, model, method, study.protocols["sweep"]))
            for model, method in product(study.models, study.swept())
        ]

    def stage_scores(self, family: str = "agreement") -> list[tuple[str, str, str]]:
        """Return (model, method at a stage, record) of the layer sweep's scores by a family."""
        study = self.study
        return [
            (model, method, paths.scores(study.dataset, model, method, study.protocol(family), part))
            for model, method in product(study.models, study.stages())
            for part in study.score_parts(study.dataset, family)
        ]

    def drawn_scores(self) -> list[tuple[str, str, str]]:
        """Return (model, method, record) of the correlations that a figure of maps shows, if there are any."""
        name = self.study.protocols.get("agreement")
        correlated = name is not None and "spearman" in self.catalog["protocols"][name]["metrics"]
        return self.scores("agreement", with_controls=False) if correlated else []

    def drawn_masked(self, wildcards: Wildcards) -> list[tuple[str, str, str]]:
        """Return (model, method, record) of the faithfulness that tells a figure of maps what masked images become."""
        asked = "masked" in FIGURES[wildcards.figure].sources and self.study.masks()
        return self.scores("faithfulness", with_controls=False) if asked else []

    def drawn_maps(self) -> list[tuple[str, str, str]]:
        """Return (model, method, manifest) of the maps that a figure shows."""
        return [
            (model, method, manifest)
            for model, method in self.study.maps(with_controls=False)
            for manifest in self._heatmaps(self.study.dataset, model, method)
        ]

    def beside_scores(self, wildcards: Wildcards) -> dict[str, str | list[str]]:
        """What a table or figure is made from beside the scores."""
        study, cost = self.study, self.study.protocols["cost"]
        sources: dict[str, str | list[str]] = {name: paths.study(study.name, f"{name}.parquet") for name in BESIDE}
        sources["cost"] = [paths.cost(cost, model) for model in study.models]
        sources["timing"] = [
            paths.timing(cost, study.dataset, model, method) for model, method in study.maps(with_controls=False)
        ]
        # A file from outside, whose content is in the identity.
        sources["published"] = []
        asked = study.sources(self.record(wildcards))
        if "images" in asked:
            sources["images"] = [file for *_, file in self.scores(study.shown_family(), with_controls=False)]
            sources["correct"] = self.correct()
            asked = (*asked, "correct")
        return {name: sources[name] for name in asked}

    def record(self, wildcards: Wildcards) -> "Record":
        """Return the record of the table or figure that a job makes."""
        return TABLES[wildcards.table] if "table" in dict(wildcards.items()) else FIGURES[wildcards.figure]

    def label(self, wildcards: Wildcards) -> str:
        """Return by what Snakemake's report lists a table or figure, in one label: of two, it makes switches."""
        record = self.record(wildcards)
        return f"{record.name}: {record.title}"

    def targets(self) -> list[str]:
        """Targets: the study's tables and figures, its configuration beside them, and what was set aside as damaged."""
        anew = made_anew(path for path, _ in results(self.study, Nameless()))
        return [*self.tables(), *self.figures(), paths.study(self.study.name, "config.yaml"), *anew]

    def tables(self) -> list[str]:
        """Targets: the study's tables."""
        tables, study = self.study.config["tables"], self.study.name
        return [paths.study(study, f"tables/{name}.{end}") for name in tables for end in ("csv", "md", "tex", "html")]

    def figures(self) -> list[str]:
        """Targets: the study's figures."""
        figures, study = self.study.config["figures"], self.study.name
        return [paths.study(study, f"figures/{name}.{end}") for name in figures for end in ("png", "pdf")]

    def _heatmaps(self, dataset: str, model: str, method: str) -> list[str]:
        return [paths.heatmaps(dataset, model, method, part) for part in self.study.map_parts(dataset, model, method)]
