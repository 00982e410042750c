"""A validated configuration with what follows from it: which protocols, maps, shards and parts a study has."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from camstudy.core.errors import CamstudyError
from camstudy.core.names import CONTROL
from camstudy.core.parts import part_names
from camstudy.data.archives import archives_of, place_of
from camstudy.data.sources import SOURCES, Archive, expected_images
from camstudy.data.sources.digits import SHARD_SIZE
from camstudy.explain.methods import METHODS
from camstudy.figures import FIGURES
from camstudy.metrics.scoring import FAMILIES
from camstudy.study.attending import attends
from camstudy.study.counting import SPLIT, metrics_by_family
from camstudy.study.embeddings import EMBEDDING
from camstudy.study.layers import layer_sweep
from camstudy.study.protocols import chosen, scored
from camstudy.study.stated import protocols_of, shown, sources_of

if TYPE_CHECKING:
    from camstudy.study.registered import Record

Pair = tuple[str, str]  # model and method


@dataclass(frozen=True)
class Fetched:
    """An archive that is fetched, and the names of the catalogue's datasets that are made from it."""

    archive: Archive
    datasets: list[str]


class Counts(Protocol):
    """What is known of datasets, see `camstudy.pipeline.listings.Listings`."""

    def images(self, name: str, lists: bool = True) -> int:
        """Return the number of images of a dataset; ``lists`` says whether its files may be listed for it."""


# What tables of the layer sweep are made from, and the family that scores it.
STAGED = {"layers": "agreement", "layer_scores": "faithfulness"}


class Study:
    """A study, as `camstudy.study.checks.validate` returns it, and the questions that rules ask of it.

    ``listings`` returns what is known of its datasets, when that is asked for; without, numbers of images are guessed.
    """

    def __init__(self, config: Mapping, listings: Callable[[], Counts] | None = None) -> None:
        self._listings = listings
        self.config, self.catalog = config, config["catalog"]
        self.name, self.dataset = config["study"], config["dataset"]
        self.prediction_dataset = config["prediction_dataset"] or config["dataset"]
        self.models, self.methods, self.controls = config["models"], config["methods"], config["controls"]
        # By family, those that score the study's maps before the two of the sweep and of cost.
        self.protocols = chosen(config)
        self.families = [family for family in self.protocols if family in scored()]

    def names(self, kind: str, test: Callable[[Mapping], object] = bool) -> str:
        """Return a wildcard constraint: the catalogue's names of a kind whose entry passes a test."""
        return "|".join(name for name, entry in self.catalog[kind].items() if test(entry)) or "(?!)"

    def protocol(self, family: str) -> str:
        """Return the study's protocol of a family; asking for what needs it is a mistake where there is none."""
        if family not in self.protocols:
            raise CamstudyError(f"`protocols` of the study has none of the family {family}; add one to make this file")
        return self.protocols[family]

    def shown_family(self) -> str:
        """Return the family whose scores of single images are shown: that of the primary metric, else the first."""
        given = metrics_by_family(self.config)
        of_primary = [family for family in self.families if self.config["primary"] in given.get(family, ())]
        if not self.families:
            raise CamstudyError("`figures`: `distribution` shows scores, but the study has no `protocols`; add one")
        return (of_primary or self.families)[0]

    def masks(self) -> bool:
        """Whether scores tell the probability of images masked by their maps, see `masked_probability`."""
        entry = self.catalog["protocols"].get(self.protocols.get("faithfulness"), {"metrics": ()})
        return {"average_drop", "average_gain"} <= {*entry["metrics"]}

    def reaches_ceiling(self) -> bool:
        """Whether maps are compared with people, and so with what people reach among themselves."""
        return any("human_ceiling" in FAMILIES[family].needs for family in self.families)

    def counts_all(self) -> bool:
        """Whether all images count, whatever the models predict for them."""
        return self.config["images"] == "all"

    def tables_beside(self) -> dict[str, str]:
        """Return the family of each kind of table that lies beside scores, such as `curves`."""
        return {kind: name for name, record in FAMILIES.items() for kind in record.beside}

    def is_control(self, method: str) -> bool:
        """Whether a catalogue's method looks at no model."""
        return not self.explains(self.catalog["methods"][method])

    def swept(self) -> list[str]:
        """Return the methods of the threshold sweep."""
        return list(dict.fromkeys(self.config["sweep"][role] for role in ("relu_after_sum", "relu_before_sum")))

    def stages(self) -> dict[str, tuple[str, int]]:
        """Return method and stage of each method of the layer sweep by its name; nothing where it is not asked for."""
        return layer_sweep(self.config) if self.stage_families() else {}

    def stage_families(self) -> list[str]:
        """Return the families that score the layer sweep."""
        return [family for source, family in STAGED.items() if self.shows(source)]

    def staged(self) -> dict[str, int]:
        """Return the stage of each method of the study that explains one."""
        swept = self.swept() if self.shows("sweep") else []
        stages = {name: self.catalog["methods"][name]["stage"] for name in [*self.methods, *swept, *self.stages()]}
        return {name: stage for name, stage in stages.items() if stage is not None}

    def maps(self, family: str = "agreement", *, with_controls: bool = True) -> list[Pair]:
        """Return model and method of a family's maps; controls have the model `control` where no model is tried."""
        if FAMILIES[family].method:
            return [(model, FAMILIES[family].method) for model in self.models]
        methods = [method for method in self.methods if self.is_judged(method, family)]
        own = [(model, method) for model in self.models for method in methods if self.suits(model, method)]
        if not (with_controls and FAMILIES[family].on_maps):
            return own
        places = self.models if FAMILIES[family].on_model else [CONTROL]
        controls = [control for control in self.controls if self.is_judged(control, family)]
        return own + [(place, control) for place in places for control in controls]

    def stores(self) -> list[Pair]:
        """Return model and method of all maps that the study scores or shows, once; a control's have no model."""
        families = [family for family in self.families if FAMILIES[family].on_maps]
        pairs = [*self.maps(with_controls=False), *(pair for family in families for pair in self.maps(family))]
        return list(dict.fromkeys((CONTROL if self.is_control(name) else model, name) for model, name in pairs))

    def is_judged(self, method: str, family: str) -> bool:
        """Whether a family scores a method or control: people's maps only beside what is left of the same people's."""
        record, needs = METHODS[self.catalog["methods"][method]["method"]], FAMILIES[family].needs
        reference, by_gaze = record.reference, "fixations" in needs
        if "weight" in needs:  # of each step of a scanpath, which people's have not
            return {"scanpath", "weight"} <= {*record.arrays}
        if "scanpath" in needs:
            return reference == "observers" or "scanpath" in record.arrays
        return by_gaze if reference == "observers" else not (by_gaze and reference == "human_half")

    def compared(self) -> list[tuple[str, str, str]]:
        """Return baseline, variant and method of all comparisons of two models' maps."""
        pairs = [(pair["baseline"], pair["variant"]) for pair in self.config["comparisons"]]
        return [
            (*pair, method)
            for pair in dict.fromkeys(pairs)
            for method in self.methods
            if all(self.suits(model, method) for model in pair)
        ]

    @cached_property
    def records(self) -> "list[Record]":
        """The records of the study's tables and figures."""
        return shown(self.config)

    def sources(self, record: "Record") -> tuple[str, ...]:
        """Return what a table or figure is made from beside the scores."""
        return sources_of(self.config, record)

    def shows(self, source: str) -> bool:
        """Whether a table or figure of the study is made from a source beside the scores."""
        return any(source in self.sources(record) for record in self.records)

    def split_families(self) -> list[str]:
        """Return the families whose scores are split by what the models predict."""
        return [family for family in self.families if family in SPLIT]

    def used_protocols(self) -> set[str]:
        """Return the protocols under which the study makes files that others share."""
        names = {self.protocols[family] for family in self.families}
        return names.union(*(protocols_of(self.config, record).values() for record in self.records))

    def datasets(self) -> list[str]:
        """Return the datasets that the study looks at or trains on."""
        recipes = [self.catalog["models"][model]["train"] for model in self.models]
        return list(dict.fromkeys([self.dataset, self.prediction_dataset, *(r["dataset"] for r in recipes if r)]))

    def predicted(self) -> list[str]:
        """Return the datasets that the study's models predict."""
        datasets = dict.fromkeys([self.dataset, self.prediction_dataset])
        return [name for name in datasets if self.has_labels(name)]

    def judged(self, dataset: str) -> list[tuple[str, str]]:
        """Return (dataset, model) of the study's models, whose predictions labels judge; none where there are none."""
        return [(dataset, model) for model in self.models if self.has_labels(dataset)]

    def has_labels(self, dataset: str) -> bool:
        """Whether the classes of a dataset's images are known."""
        entry = self.catalog["datasets"][dataset]
        return "labels" in SOURCES[entry["source"]].truths(entry)

    def prepared(self, *, photographs: bool) -> list[dict[str, str]]:
        """Return the wildcards of the datasets that the study needs, those of photographs or those of shards."""
        entries = self.catalog["datasets"]
        return [{"dataset": name} for name in self.datasets() if is_photographs(entries[name]) == photographs]

    def drawn(self) -> list[dict[str, str]]:
        """Return the wildcards of a shard of each dataset that is drawn."""
        return [{"dataset": name, "shard": "0"} for name in self.datasets() if is_drawn(self.catalog["datasets"][name])]

    def scores_maps(self, entry: Mapping) -> bool:
        """Whether a catalogue's protocol scores maps without running the network."""
        return entry["family"] in FAMILIES and not FAMILIES[entry["family"]].on_model

    def scores_on_model(self, entry: Mapping) -> bool:
        """Whether a catalogue's protocol runs the network to score maps."""
        return entry["family"] in FAMILIES and FAMILIES[entry["family"]].on_model

    def explains(self, entry: Mapping) -> bool:
        """Whether a catalogue's method looks at a model, as controls do not."""
        return METHODS[entry["method"]].needs != "dataset"

    def suits(self, model: str, method: str) -> bool:
        """Whether a method can explain a model, some only one with a variant, with attention or without classes."""
        stated, entry = self.catalog["methods"][method], self.catalog["models"][model]
        record = METHODS[stated["method"]]
        if (stated["target"] == EMBEDDING) != (entry["head"] == EMBEDDING):
            return False
        special = record.variant is not None or record.attention
        return not special or record.variant in entry["variant"] or (record.attention and attends(entry["arch"]))

    def figure_names(self, needs: str) -> str:
        """Return a wildcard constraint: the registered figures that are drawn from `scores`, or from `maps`."""
        return "|".join(name for name, figure in FIGURES.items() if figure.needs == needs)

    def images(self, dataset: str) -> int:
        """Return the number of images of a dataset, before it is prepared from a list of its files."""
        if self._listings is None:
            return expected_images(self.catalog["datasets"][dataset])
        return self._listings().images(dataset)

    def expected_images(self, dataset: str) -> int:
        """Return the number of images of a dataset for an estimate, for which only the study's own is listed."""
        if self._listings is None or dataset == self.dataset:
            return self.images(dataset)
        return self._listings().images(dataset, lists=False)

    def map_parts(self, dataset: str, model: str, method: str) -> list[str]:
        """Return what the paths of a method's stores end in, see `camstudy.core.parts`."""
        record = METHODS[self.catalog["methods"][method]["method"]]
        return part_names(self.images(dataset), divided=record.divided and model != CONTROL)

    def score_parts(self, dataset: str, family: str) -> list[str]:
        """Return what the paths of a family's scores end in."""
        return part_names(self.images(dataset), divided=FAMILIES[family].divided)

    def shard_folder(self, dataset: str) -> str:
        """Return whose shards a dataset is made from: a trial has those of its dataset."""
        stated = self.catalog["datasets"][dataset].get("shards")
        if not isinstance(stated, Mapping):
            return dataset
        return next(name for name, entry in self.catalog["datasets"].items() if entry.get("shards") == stated)

    def shard_numbers(self, dataset: str) -> range:
        """Return the numbers of the shards that the workflow draws or downloads for a dataset; none of a user's."""
        entry = self.catalog["datasets"][dataset]
        if entry["source"] == "digits":
            return range(-(-entry["n_images"] // SHARD_SIZE))
        stated = entry.get("shards")
        if not isinstance(stated, Mapping):
            return range(0)
        count, each = stated["count"], stated["records"]
        if each and entry["n_images"] and entry["sample_seed"] is None:
            count = min(count, -(-entry["n_images"] // each))
        return range(count)

    @cached_property
    def archives(self) -> dict[str, dict[str, Fetched]]:
        """The archives that the catalogue's datasets are fetched from, by place and name of the file."""
        found: dict[str, dict[str, Fetched]] = {}
        for name, entry in self.catalog["datasets"].items():
            for file, archive in archives_of(entry).items():
                place = found.setdefault(place_of(entry), {})
                known = place.get(file, Fetched(archive, []))
                # A checksum that one entry states holds for all.
                pinned = known.archive if known.archive.sha256 else archive
                place[file] = Fetched(pinned, [*known.datasets, name])
        return found

    def archive_names(self, *, files: bool = False) -> str:
        """Return a wildcard constraint: the places of archives that are fetched, or the names of the ``files``."""
        names = {file for place in self.archives.values() for file in place} if files else self.archives
        return "|".join(map(re.escape, sorted(names))) or "(?!)"

    def demo_weights(self) -> Iterator[str]:
        """Yield the names of the weights that ship with the repository: models called `{name}_pretraining`."""
        suffix = "_pretraining"
        return (name.removesuffix(suffix) for name in self.catalog["models"] if name.endswith(suffix))


def is_drawn(entry: Mapping) -> bool:
    """Whether a catalogue's dataset is drawn."""
    return entry["source"] == "digits"


def is_photographs(entry: Mapping) -> bool:
    """Whether a catalogue's dataset is prepared from files of photographs, not from shards."""
    return SOURCES[entry["source"]].kind == "photographs"
