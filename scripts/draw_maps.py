"""Draw a figure of a study from images and their maps."""

import numpy as np

from camstudy.core.parts import by_key, read_records, read_tables
from camstudy.data.dataset import open_dataset
from camstudy.explain.fixations import eye
from camstudy.explain.reading import label_maps
from camstudy.figures import FIGURES, save
from camstudy.figures.choice import chosen_images
from camstudy.figures.titles import drawn
from camstudy.pipeline.job import step
from camstudy.study.seeds import shown_pairs

with step(snakemake):
    catalog, settings = snakemake.config["catalog"], snakemake.config["qualitative"]
    models, methods = (
        {name: drawn(entry["title"]) for name, entry in catalog[kind].items()} for kind in ("models", "methods")
    )
    dataset, inputs = open_dataset(snakemake.input.dataset), snakemake.input
    chosen = chosen_images(dataset.sources, settings, FIGURES[snakemake.wildcards.figure])

    def names(classes):
        """Return the classes' names; their numbers where they have none, as those that the data lack."""
        titles = dataset.attrs["class_names"] or []
        return np.array([drawn(titles[number]) if number < len(titles) else str(number) for number in classes])

    records = zip(map(models.get, snakemake.config["models"]), inputs.prediction, strict=bool(inputs.prediction))
    answers = {model: read_records([record]).set_index("image").loc[chosen] for model, record in records}
    maps, scores, boxes, scanpaths, eyes = {}, {}, {}, {}, {}
    tables = read_tables(snakemake.params.scored, inputs.scores)
    for (model, method), manifests in by_key(snakemake.params.maps, inputs.heatmaps).items():
        key, floors = (models[model], methods[method]), {method: catalog["methods"][method]["postprocess"]}
        found = label_maps({(model, method): manifests}, postprocess=floors).isel(model=0, method=0, image=chosen)
        maps[key], boxes[key[0]] = found["heatmap"].values, found["view"].values
        explained = names(found["target"].values) if dataset.attrs["class_names"] else [""] * len(chosen)
        if "scanpath" in found:
            scanpaths[key], eyes[key] = found["scanpath"].values, eye(catalog, model, method)
        if tables:
            scores[key] = tables[model, method].set_index("image").loc[chosen, "spearman"].to_numpy()
    objects = dataset.boxes(chosen) if "box" in dataset.group else None
    fixations = dataset.fixations(chosen) if "fixation" in dataset.group else None
    figure = FIGURES[snakemake.wildcards.figure].function(
        dataset.images(chosen),
        dataset.human_map(chosen) if "human_map" in dataset.group else None,
        maps,
        [drawn(label) or name for label, name in zip(dataset.shown(chosen), explained, strict=True)],
        boxes=boxes,
        predicted={model: names(found["predicted"]) for model, found in answers.items()},
        probabilities={model: found["probability"].to_numpy() for model, found in answers.items()},
        scores=scores,
        **{"fixations": fixations, "scanpaths": scanpaths, "eyes": {key: of for key, of in eyes.items() if of}},
        human_title=f"human map ({what})" if (what := dataset.attrs["human_maps"]) else "human map",
        pairs=[(drawn(title), [*map(drawn, names)]) for title, names in shown_pairs(snakemake.config)],
        methods={methods[name]: catalog["methods"][name]["method"] for name in snakemake.config["methods"]},
        objects=None if objects is None else [boxes[(boxes >= 0).all(1)] for boxes in objects],
    )
    for path in snakemake.output:
        save(figure, path)
