"""What figures of maps show: a choice of a study's images with their maps, classes, probabilities and people's maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from camstudy.core.parts import by_key, read_records, read_tables
from camstudy.data.dataset import Dataset, open_dataset
from camstudy.explain.fixations import eye
from camstudy.explain.methods import METHODS
from camstudy.explain.reading import label_maps
from camstudy.figures import FigureRecord
from camstudy.figures.about import people
from camstudy.figures.choice import chosen_images
from camstudy.figures.titles import class_names, told_apart
from camstudy.metrics.faithfulness import masked_probability

Key = tuple[str, str]  # titles of a model and of a method


@dataclass
class Shown:
    """The images of a figure of maps, and what is known of them, by the titles of models and methods.

    Parameters
    ----------
    config : validated configuration
    record : of the figure
    manifest : of the study's dataset
    fixations : the manifest of its fixations if these were corrected
    """

    config: Mapping
    record: FigureRecord
    manifest: str
    fixations: Sequence[str] = ()
    dataset: Dataset = field(init=False)
    chosen: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        settings, catalog = self.config["qualitative"], self.config["catalog"]
        self.dataset = open_dataset(self.manifest, self.fixations)
        self.chosen = chosen_images(self.dataset.sources, settings, self.record)
        self.titles = {}
        for kind in ("models", "methods"):
            titles = told_apart(catalog[kind][name]["title"] for name in self.config[kind])
            self.titles[kind] = {name: titles[catalog[kind][name]["title"]] for name in self.config[kind]}
        self.labels = self.dataset.labels[self.chosen]

    def arguments(self, human_maps: str | None) -> dict[str, object]:
        """Return what every figure of maps is given beside the maps."""
        has, chosen = self.dataset.group, self.chosen
        objects = self.dataset.boxes(chosen) if "box" in has else None
        return {
            "fixations": self.dataset.fixations(chosen) if "fixation" in has else None,
            "human_title": f"human map{people(human_maps)}",
            "human_maps": human_maps,
            "methods": {
                self.titles["methods"][name]: self.config["catalog"]["methods"][name]["method"]
                for name in self.config["methods"]
            },
            "scattered": [self.titles["methods"][name] for name in self.config["methods"] if self._scattered(name)],
            "objects": None if objects is None else [boxes[(boxes >= 0).all(1)] for boxes in objects],
        }

    def maps(self, keys: Sequence[Key], manifests: Sequence[str]) -> dict[str, dict]:
        """Return ``maps``, ``targets``, ``scanpaths`` and ``eyes`` by titles, and the ``boxes`` that models saw."""
        catalog, found = (
            self.config["catalog"],
            {name: {} for name in ("maps", "targets", "boxes", "scanpaths", "eyes")},
        )
        for (model, method), files in by_key(keys, manifests).items():
            floors = {method: catalog["methods"][method]["postprocess"]}
            part = label_maps({(model, method): files}, postprocess=floors)
            part, key = part.isel(model=0, method=0, image=self.chosen), self._key(model, method)
            found["maps"][key], found["targets"][key] = part["heatmap"].values, part["target"].values
            found["boxes"][key[0]] = part["view"].values
            if "scanpath" in part:
                found["scanpaths"][key] = part["scanpath"].values
                if seen := eye(catalog, model, method):
                    found["eyes"][key] = seen
        return found

    def predicted(self, records: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return which classes models predict, and how probable the labels are, by the models' titles."""
        models = [self.titles["models"][name] for name in self.config["models"]]
        frames = [read_records([record]).set_index("image").loc[self.chosen] for record in records]
        each = list(zip(models, frames, strict=bool(records)))
        return tuple({model: frame[name].to_numpy() for model, frame in each} for name in ("predicted", "probability"))

    def scores(self, keys: Sequence[Key], records: Sequence[str]) -> dict[Key, np.ndarray]:
        """Return the correlations with people's maps."""
        tables = read_tables(keys, records)
        return {self._key(*key): self._of(frame, "spearman") for key, frame in tables.items()}

    def faithful(self, keys: Sequence[Key], records: Sequence[str]) -> tuple[dict, dict]:
        """Return the probabilities of the explained classes, of images and of images masked by maps.

        The former are where curves of deletion begin, the latter follow from what drops and what is gained.
        """
        whole, masked = {}, {}
        curves = read_tables(keys, records, "curves")
        for key, frame in read_tables(keys, records).items():
            starts = curves[key].set_index("image")["deletion"].loc[self.chosen]
            p = np.array([float(curve[0]) for curve in starts])
            whole[self._key(*key)] = p
            drop, gain = (self._of(frame, name) for name in ("average_drop", "average_gain"))
            masked[self._key(*key)] = masked_probability(p, drop, gain)
        return whole, masked

    def names(self, classes: Sequence[int]) -> list[str]:
        """Return the names of classes; their numbers where they have none, as those that the data lack."""
        titles = self.dataset.attrs["class_names"] or []
        shown = class_names(titles)
        return [shown[titles[number]] if 0 <= number < len(titles) else str(number) for number in classes]

    def shown(self) -> list[str]:
        """Return what the images show: their classes' names, else what the data say."""
        if (self.labels >= 0).all():
            return self.names(self.labels)
        texts = list(self.dataset.shown(self.chosen))
        names = told_apart(texts)
        return [names[text] for text in texts]

    def _key(self, model: str, method: str) -> Key:
        return self.titles["models"][model], self.titles["methods"][method]

    def _of(self, frame: object, column: str) -> np.ndarray:
        return frame.set_index("image").loc[self.chosen, column].to_numpy(float)

    def _scattered(self, name: str) -> bool:
        """Whether single pixels stand out of a method's maps, which have a value for each pixel of the input."""
        return METHODS[self.config["catalog"]["methods"][name]["method"]].resolution == "input"


def read_shown(
    config: Mapping, record: FigureRecord, files: Mapping, keys: Mapping, pairs: Sequence
) -> tuple[list, dict[str, object]]:
    """Return the positional and the named arguments of a figure of maps (see `camstudy.figures.qualitative`).

    Parameters
    ----------
    config : validated configuration
    record : of the figure
    files : inputs of the workflow's rule: ``dataset``, ``fixations``, ``heatmaps``, ``scores``, ``masked`` and
        ``prediction``
    keys : model and method of each of the files: ``maps``, ``scored`` and ``masked``
    pairs : title of each network that is compared, and of its models
    """
    shown = Shown(config, record, files["dataset"], files["fixations"])
    maps = shown.maps(keys["maps"], files["heatmaps"])
    predicted, of_label = shown.predicted(files["prediction"])
    probability, masked = shown.faithful(keys["masked"], files["masked"])
    explained = {key: shown.names(classes) for key, classes in maps["targets"].items()}
    for key, classes in maps.pop("targets").items():
        if key not in probability and key[0] in of_label:
            probability[key] = np.where(classes == shown.labels, of_label[key[0]], np.nan)
    named = shown.arguments(shown.dataset.attrs["human_maps"])
    named |= {"explained": explained, "probability": probability, "masked": masked}
    named |= {"predicted": {model: shown.names(classes) for model, classes in predicted.items()}}
    titles = told_apart(title for name, models in pairs for title in (name, *models))
    own = {config["catalog"]["models"][name]["title"]: title for name, title in shown.titles["models"].items()}
    titles |= own
    named["pairs"] = [(titles[name], [titles[model] for model in models]) for name, models in pairs]
    named["scores"] = shown.scores(keys["scored"], files["scores"])
    human = shown.dataset.human_map(shown.chosen) if "human_map" in shown.dataset.group else None
    figures = maps.pop("maps")
    return [shown.dataset.images(shown.chosen), human, figures, shown.shown()], named | maps
