"""Recipes of training: what contradicts itself, beyond what the schema sees."""

from collections.abc import Iterator, Mapping

from camstudy.study.schema import show
from camstudy.study.written import Place


def check_recipe(place: Place, recipe: Mapping) -> Iterator[tuple[Place, str]]:
    """Yield the mistakes of a recipe, a model's `train` with its defaults, and where they stand."""
    if recipe["min_learning_rate"] > recipe["learning_rate"]:
        limit = f"at most `learning_rate` ({show(recipe['learning_rate'])})"
        yield (*place, "min_learning_rate"), f"found {show(recipe['min_learning_rate'])}, expected {limit}"
    if recipe["warmup_epochs"] >= recipe["epochs"]:
        limit = f"less than `epochs` ({recipe['epochs']}), as the learning rate would only rise; 0 for no warm-up"
        yield (*place, "warmup_epochs"), f"found {show(recipe['warmup_epochs'])}, expected {limit}"
    batch, passes = recipe["batch_size"], recipe["accumulate"]
    if batch % passes:
        limit = f"a divisor of `batch_size` ({batch}), which the passes share evenly"
        yield (*place, "accumulate"), f"found {passes}, expected {limit}"
    elif batch // passes % recipe["gpu"]:
        shared = f"`batch_size` ({batch})" if passes == 1 else f"`batch_size` / `accumulate` ({batch} / {passes})"
        limit = f"a divisor of {shared}, which the GPUs share evenly"
        yield (*place, "gpu"), f"found {recipe['gpu']}, expected {limit}"
    if recipe["backward"] == "guided" and (recipe.get("terms") or {}).get("gradient_guidance"):
        text = "found guided, but `gradient_guidance` needs the derivative; leave one of them out"
        yield (*place, "backward"), text
    if recipe["select"] == "best" and not recipe["hold_out"]:
        text = "found best, but no images are held out to tell; set `hold_out`, or `select: last`"
        yield (*place, "select"), text
    scale = recipe["augment"]["scale"]
    if None not in scale and scale[0] > scale[1]:
        yield (*place, "augment", "scale"), f"found {show(scale)}, expected the smaller share first"
