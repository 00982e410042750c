"""Whether heads and data go together: sigmoids with sets of labels, the softmax with one label an image."""

from collections.abc import Iterator, Mapping

from camstudy.study.embeddings import EMBEDDING
from camstudy.study.written import Place
from camstudy.training.terms import TERMS


def check_heads(config: Mapping) -> Iterator[tuple[Place, str]]:
    """Yield models of a study whose logits mean something else than the labels of the data.

    The data are those that they are trained on, predict and are explained with. What has no classes goes with any head.
    ``config`` has defaults and lacks what is malformed.
    """
    models, datasets = (_mapping(_mapping(config.get("catalog")).get(kind)) for kind in ("models", "datasets"))
    scored = [name for name in (config.get("dataset"), config.get("prediction_dataset")) if name]
    for name in config.get("models", ()):
        entry, place = _mapping(models.get(name)), ("catalog", "models", name)
        recipe, head = _mapping(entry.get("train")), entry.get("head")
        if entry.get("binary") and head not in (None, "softmax"):
            yield (*place, "binary"), f"found true, but `head: {head}` is not for two classes; leave one of both out"
        if entry.get("binary") and entry.get("num_classes") != 2:
            yield (
                (*place, "num_classes"),
                f"found {entry.get('num_classes')}, but `binary: true` is for two classes; set 2",
            )
        # Each image has one class whose mean it is compared with.
        suits = "softmax" if head == EMBEDDING else head
        uses = [(recipe.get("dataset"), "trained on"), *((dataset, "scored on") for dataset in scored)]
        for dataset, verb in uses:
            wanted = _head(datasets.get(dataset))
            if head and wanted and wanted != suits:
                has = "sets of labels" if wanted == "sigmoid" else "one label for each image"
                other = "`label_sets: false`" if wanted == "sigmoid" else "data with `label_sets: true`"
                yield (
                    (*place, "head"),
                    f"found {head}, but `{dataset}`, {verb}, has {has}; set {wanted}, or take {other}",
                )
                break
        for term in _mapping(recipe.get("terms")):
            if term in TERMS and head not in TERMS[term].heads:
                text = f"is for models with `head: {TERMS[term].heads[0]}` alone, found {head}; leave it out"
                yield (*place, "train", "terms", term), text
        token = _mapping(_mapping(entry.get("variant")).get("castream")).get("token")
        if head == "sigmoid" and recipe and token == "class_specific":
            text = "found class_specific, but `head: sigmoid` has several labels to choose from; set agnostic"
            yield (*place, "variant", "castream", "token"), text


def _head(dataset: object) -> str | None:
    """Return the head that a dataset's labels are for; None where there are no classes, or nothing is known."""
    entry = _mapping(dataset)
    return ("sigmoid" if entry.get("label_sets") else "softmax") if entry.get("num_classes") else None


def _mapping(value: object) -> Mapping:
    """Return a mapping, in the place of anything else an empty one."""
    return value if isinstance(value, Mapping) else {}
