"""The configuration of a study: checked against its schema and in itself, completed with defaults."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from camstudy.core.addresses import mistake, redact
from camstudy.core.errors import CamstudyError, did_you_mean, unknown
from camstudy.core.paths import expanded, not_installed
from camstudy.data.archives import missing_beside, missing_root
from camstudy.data.sources import has_items
from camstudy.figures import FIGURES
from camstudy.models.timm_names import facts, random_head
from camstudy.study.attending import unsuited
from camstudy.study.counting import check_counting
from camstudy.study.embeddings import check_embeddings
from camstudy.study.heads import check_heads
from camstudy.study.layers import add_stages, layer_sweep, shows, sweeps_layers
from camstudy.study.protocols import check_protocols, cost_protocol
from camstudy.study.recipes import check_recipe
from camstudy.study.registered import Registered
from camstudy.study.schema import explain, fill, load_schema, show, validator
from camstudy.study.seeds import check_seeds, make_replicates
from camstudy.study.targets import check_controls, check_targets, match_controls
from camstudy.study.trials import check_trial, make_trial
from camstudy.study.written import Place

__all__ = ["validate"]

Mistakes = Iterator[tuple[Place, str]]
SWEEP_ROLES = ("relu_after_sum", "relu_before_sum")


def validate(
    config: Mapping,
    known: Registered | None = None,
    *,
    check_files: bool = True,
    where: Callable[[Place], str] = lambda place: "",
) -> dict:
    """Check a configuration, then return a copy of it with every default filled in.

    In the copy, what follows from other keys is in its place: titles, methods of the layer sweep, and with `n_images`
    the names and the dataset of the trial. Validating the copy changes nothing.

    Parameters
    ----------
    config : the configuration as parsed from YAML, catalogue included
    known : registered names; by default they are not checked
    check_files : whether the files that the selected models and datasets name must exist
    where : returns in which file, and in which line, a value was written, for the messages; empty where that is unknown

    Raises
    ------
    CamstudyError
        with one line per mistake, all at once: where it is, what was found, what is expected.
    """
    errors: dict[Place, str] = {}
    written = _plain(config, (), errors)
    for error in validator().iter_errors(written):
        for place, text in explain(error):
            errors.setdefault(place, text)
    # The other checks see only what is well formed: one mistake, one line.
    usable = copy.deepcopy(written)
    for place in errors:
        _forget(usable, place)
    usable = fill(usable, load_schema())
    for place, text in _cross_checks(usable, written, known or {}, check_files):
        errors.setdefault(place, text)
    if not errors:
        # Of names that all exist.
        errors |= dict(check_controls(usable)) | dict(check_targets(usable))
    if errors:
        raise CamstudyError(_report(errors, where))
    return _derive(usable)


def _plain(value: Any, place: Place, errors: dict[Place, str]) -> Any:
    """Copy to plain dicts and lists with text as keys, noting what YAML can say and JSON cannot."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                why = "; YAML reads yes, no, on and off as true and false" if isinstance(key, bool) else ""
                errors[*place, str(key)] = f"found the key {show(key)}, expected text{why}; put quotes around it"
        return {str(key): _plain(item, (*place, str(key)), errors) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, (*place, index), errors) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        errors[place] = f"found {show(value)}, expected a finite number"
    elif value is not None and not isinstance(value, str | bool | int | float):
        errors[place] = f"found {value} ({type(value).__name__}), expected text; put quotes around it"
    return value


def _forget(config: Any, place: Place) -> None:
    """Take out a malformed value, so that its default stands for it; in lists, null keeps its place."""
    *parents, last = place
    for key in parents:
        config = config.get(key) if isinstance(config, dict) else config[key] if config else None
    if isinstance(config, dict):
        config.pop(last, None)
    elif isinstance(config, list) and isinstance(last, int):
        config[last] = None


def _cross_checks(config: Mapping, written: Mapping, known: Registered, check_files: bool) -> Mistakes:
    """Yield what no schema sees: names that do not exist, values that contradict each other, missing files.

    ``config`` has defaults and lacks what is malformed; ``written`` is what the user wrote.
    """
    yield from _check_names(config, _at(written, "catalog"))
    yield from _check_comparisons(config)
    for name, model in _at(config, "catalog", "models").items():
        stated = _at(written, "catalog", "models", name)
        yield from _check_model(("catalog", "models", name), model, stated)
    for name, dataset in _at(config, "catalog", "datasets").items():
        if _at(dataset).get("boxes") and dataset.get("split") == "train":
            text = "found true, but boxes are known of validation images only; set false, or `split: val`"
            yield ("catalog", "datasets", name, "boxes"), text
        address = _at(dataset, "shards").get("url") or ""
        # Numbers stand in the place of {i}.
        if wrong := address and mistake(address.replace("{i}", "0")):
            yield ("catalog", "datasets", name, "shards", "url"), f"found {redact(address)}, but {wrong}"
        for file, stated in _at(dataset, "archives").items():
            if wrong := mistake(address := _at(stated).get("url") or "file://"):
                yield ("catalog", "datasets", name, "archives", file, "url"), f"found {redact(address)}, but {wrong}"
    yield from _check_origins(_at(config, "catalog", "models"))
    if "published" in config["tables"] and config["published"] is None:
        yield ("published",), "missing, and `tables` has `published`; name a file, such as config/published/dcls.csv"
    if "gradients" in config["figures"]:
        used = {_at(config, "catalog", "methods", name).get("method") for name in config.get("methods", ())}
        if not {"input_gradient", "guided_backprop"} <= used:
            text = "`gradients` shows the methods `input_gradient` and `guided_backprop`; add both to `methods`"
            yield ("figures", config["figures"].index("gradients")), text
    yield from _check_items(config)
    shown = [name for name in ("pooling", "ablation") if name in config["tables"]]
    if shown and not config["comparisons"]:
        yield ("comparisons",), f"there are none, and the table `{shown[0]}` shows them; name pairs of models"
    yield from check_heads(config)
    yield from check_embeddings(config)
    yield from _check_sweeps(config)
    yield from check_protocols(config, known)
    yield from check_counting(config)
    yield from check_trial(config)
    yield from check_seeds(config)
    yield from _check_registered(config, known)
    if check_files:
        yield from _check_files(config)


def _check_items(config: Mapping) -> Mistakes:
    """Refuse figures of two classes of an image where images of the dataset come once."""
    name = config.get("dataset", "")
    entry = _at(config, "catalog", "datasets", name)
    if "source" not in entry or has_items(entry):
        return
    for index, figure in enumerate(config["figures"]):
        if figure in FIGURES and FIGURES[figure].items:
            text = f"`{figure}` shows images of two classes, but images of `{name}` come once, with one class"
            yield ("figures", index), f"{text}; take data with an item for each class, or drop the figure"


def _check_names(config: Mapping, catalog: Mapping) -> Mistakes:
    uses: list[tuple[Place, str, str | None]] = [
        ((key,), "datasets", config.get(key)) for key in ("dataset", "prediction_dataset")
    ]
    for key, kind in (("models", "models"), ("methods", "methods"), ("controls", "methods")):
        uses += [((key, index), kind, name) for index, name in enumerate(config.get(key, []))]
    uses += [(place, "methods", name) for place, name in _swept(config)]
    uses += [(("protocols", index), "protocols", name) for index, name in enumerate(config["protocols"])]
    uses.append((("sweep", "protocol"), "protocols", config["sweep"]["protocol"]))
    uses.append((("cost",), "protocols", cost_protocol(config)))
    for model, entry in _at(config, "catalog", "models").items():
        place: Place = ("catalog", "models", model, "train", "dataset")
        uses.append((place, "datasets", _at(entry, "train").get("dataset")))
        uses.append((("catalog", "models", model, "weights", "model"), "models", _at(entry, "weights").get("model")))
    for place, kind, name in uses:
        # Names as written: an entry with a mistake in it exists nevertheless.
        valid = catalog.get(kind)
        if name is not None and isinstance(valid, dict) and name not in valid:
            yield place, f"{unknown(kind.removesuffix('s'), name, valid)} (looked in `catalog.{kind}`)"


def _check_comparisons(config: Mapping) -> Mistakes:
    models = [name for name in config.get("models", ()) if name is not None]
    seen = set()
    for index, comparison in enumerate(config["comparisons"]):
        pair = tuple((comparison or {}).get(key) for key in ("baseline", "variant"))
        for key, name in zip(("baseline", "variant"), pair, strict=True):
            if models and name is not None and name not in models:
                yield ("comparisons", index, key), f"`{name}` is not in `models`{did_you_mean(name, models)}"
        if None in pair:
            continue
        if pair[0] == pair[1]:
            yield ("comparisons", index), f"compares `{pair[0]}` with itself; name two models"
        if pair in seen:
            yield ("comparisons", index), f"compares `{pair[0]}` with `{pair[1]}` a second time; drop it"
        seen.add(pair)


def _check_model(place: Place, model: Mapping, written: Mapping) -> Mistakes:
    if "weights" not in written and written.get("train") is None:
        hint = "add `train`, or say where the weights are, or `weights: random`"
        yield (*place, "weights"), f"missing, and the model is not trained; {hint}"
    if model.get("arch", "").endswith(".py"):
        module = Path(model["arch"]).stem
        text = f"found {model['arch']}, a file; write `{module}.NAME`, of a function or class in it that makes networks"
        yield (*place, "arch"), f"{text}, and list the file under `plugins`"
    address = _at(model, "weights").get("url")
    if wrong := address and mistake(address):
        yield (*place, "weights", "url"), f"found {redact(address)}, but {wrong}"
    # What a copy of a file holds, its fetching will tell. And `train` that is malformed is not there either.
    if _at(model, "weights").get("timm") and not _at(model, "weights").get("url") and model["train"] is None:
        wrong = random_head(facts(model.get("arch", "")).classes, model.get("num_classes"))
        if wrong and _at(written).get("train") is None:
            yield (*place, "weights", "timm"), f"of `{model['arch']}`: {wrong}"
    if _at(model, "weights").get("include_variant") and not model["variant"]:
        yield (*place, "weights", "include_variant"), "found true, but the model has no `variant`; add it, or set false"
    dcls = _at(model, "variant", "dcls")
    if dcls and dcls["kernel_count"] > dcls["kernel_size"] ** 2:
        limit = f"at most kernel_size x kernel_size ({dcls['kernel_size'] ** 2})"
        yield (*place, "variant", "dcls", "kernel_count"), f"found {dcls['kernel_count']}, expected {limit}"
    yield from _check_learned(place, model, written)
    if model["train"] is not None:
        yield from check_recipe((*place, "train"), model["train"])


def _check_learned(place: Place, model: Mapping, written: Mapping) -> Mistakes:
    """Refuse variants that have modules of their own, which neither training nor weights would fill."""
    if _at(written).get("train") is not None or _at(model, "weights").get("include_variant"):
        return
    for name in model["variant"]:
        module = load_schema()["$defs"][f"variant_{name}"].get("x-trained")
        if module:
            text = f"its {module} would stay as it was drawn; add `train`, or weights with `include_variant: true`"
            yield (*place, "variant", name), text


def _check_origins(models: Mapping) -> Mistakes:
    """Refuse models whose weights come, in the end, from themselves."""
    for name in models:
        seen, origin = [name], _at(models, name, "weights").get("model")
        while origin in models and origin not in seen:
            seen.append(origin)
            origin = _at(models, origin, "weights").get("model")
        if origin == name:
            chain = " from ".join(f"`{model}`" for model in [*seen, name])
            yield ("catalog", "models", name, "weights", "model"), f"starts {chain}; name another model or a file"


def _swept(config: Mapping) -> Iterator[tuple[Place, str]]:
    """Yield the methods of the sweeps that are asked for, and where they are named."""
    if shows(config, "threshold_sweep"):
        yield from ((("sweep", role), config["sweep"][role]) for role in SWEEP_ROLES)
    if sweeps_layers(config):
        yield from (
            (("layer_sweep", "methods", index), name) for index, name in enumerate(config["layer_sweep"]["methods"])
        )


def _check_sweeps(config: Mapping) -> Mistakes:
    """Refuse sweeps that lack what their tables show, and stages' names that mean something else."""
    methods = _at(config, "catalog", "methods")
    if shows(config, "threshold_sweep"):
        name, protocol = config["sweep"]["relu_before_sum"], config["sweep"]["protocol"]
        floor = _at(methods, name, "postprocess").get("floor")
        floors = _at(config, "catalog", "protocols", protocol).get("floors", (None, floor))
        if name in methods and floor is None:
            yield ("sweep", "relu_before_sum"), f"`{name}` has no floor in its `postprocess`; name a method that has"
        for needed in (None, floor):
            if needed not in floors:
                text = f"`{protocol}` has the floors {show(floors)}, expected {show(needed)} among them"
                yield ("sweep", "protocol"), f"{text}; name or make a protocol that has it"
    if sweeps_layers(config):
        for name, (_, stage) in layer_sweep(config).items():
            found = _at(methods, name).get("stage", stage)
            if found != stage:
                text = f"found {show(found)}, but `layer_sweep` takes this name for stage {stage}; rename the entry"
                yield ("catalog", "methods", name, "stage"), text


def _check_registered(config: Mapping, known: Registered) -> Mistakes:
    methods, controls = known.get("methods", ()), known.get("controls", ())
    used = {name: entry.get("method") for name, entry in _at(config, "catalog", "methods").items()}
    if known:
        for name, method in used.items():
            if method is not None and method not in {*methods, *controls}:
                text = str(unknown("method", method, {*methods, *controls}))
                yield ("catalog", "methods", name, "method"), text
            elif method is not None and "bind" in known:
                try:
                    known["bind"](method, _at(config, "catalog", "methods", name, "parameters"))
                except CamstudyError as error:
                    yield ("catalog", "methods", name, "parameters"), str(error)
            if method in controls and _at(config, "catalog", "methods", name).get("stage") is not None:
                yield (
                    ("catalog", "methods", name, "stage"),
                    "a control looks at no model and has no stages; leave it out",
                )
        for rule in config["resources"]["rules"]:
            if rule not in known["rules"]:
                yield ("resources", "rules", rule), str(unknown("rule", rule, known["rules"]))
    explained = [(("methods", index), name) for index, name in enumerate(config.get("methods", ()))]
    for place, name in [*explained, *_swept(config)]:
        if used.get(name) in controls:
            yield place, f"`{name}` is a control, which looks at no model; list it under `controls`"
        models = [_at(config, "catalog", "models", model) for model in config.get("models", ())]
        if text := unsuited(models, known, used.get(name, "")):
            yield place, f"`{name}` {text}"
    for index, name in enumerate(config.get("controls", ())):
        if used.get(name) in methods:
            yield ("controls", index), f"`{name}` explains a model, a control does not; list it under `methods`"


def _check_files(config: Mapping) -> Mistakes:
    """Look for the files of what the study selects; those of other entries may be on another machine."""
    files: list[tuple[Place, str | None]] = []
    datasets = {config.get("dataset"), config.get("prediction_dataset")}
    files.append((("published",), config.get("published")))
    for name in config.get("models", ()):
        model = _at(config, "catalog", "models", name)
        datasets.add(_at(model, "train").get("dataset"))
        if Path(f"results/weights/{name}.json").is_file():
            continue
        files.append((("catalog", "models", name, "weights", "path"), _at(model, "weights").get("path")))
    for name in filter(None, datasets):
        if Path(f"results/data/{name}.json").is_file():
            continue  # prepared: what was read then stands, whether it is still there or not
        shards = _at(config, "catalog", "datasets", name).get("shards", ())
        shards = shards if isinstance(shards, list) else ()  # a mapping: they are yet to be downloaded
        files += [(("catalog", "datasets", name, "shards", index), path) for index, path in enumerate(shards)]
        entry = _at(config, "catalog", "datasets", name)
        if (wrong := missing_root(entry)) is not None:
            yield ("catalog", "datasets", name, "root"), wrong
        else:
            yield from ((("catalog", "datasets", name, key), text) for key, text in missing_beside(entry))
    for place, path in files:
        if path is None or Path(expanded(path)).is_file():
            continue
        if wrong := not_installed(path):
            yield place, f"no file `{path}`: {wrong}"
        else:
            whole = Path(expanded(path))
            missing = f"no file `{whole}`" if whole.is_absolute() else f"no file `{path}` in {Path.cwd()}"
            yield place, f"{missing}; put it there, or correct the path"


def _at(value: object, *keys: str | None) -> Mapping:
    """Return the mapping at the end of ``keys``; an empty one if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _derive(config: dict) -> dict:
    """Put in place what follows from other keys."""
    catalog = config["catalog"]
    for kind in ("models", "methods", "protocols"):
        for name, entry in catalog[kind].items():
            entry["title"] = entry["title"] or name
    for comparison in config["comparisons"]:
        comparison["title"] = comparison["title"] or catalog["models"][comparison["baseline"]]["title"]
    add_stages(config)
    match_controls(config)
    make_replicates(config)
    make_trial(config)
    return config


def _report(errors: Mapping[Place, str], where: Callable[[Place], str]) -> str:
    # Where a whole value is wrong, its parts are not discussed.
    named = [place for place in errors if not any(place[:end] in errors for end in range(len(place)))]
    lines = []
    for place in named:
        written = where(place)
        lines.append(f"`{_dotted(place)}`{f' ({written})' if written else ''}: {errors[place]}")
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    return "\n  ".join([f"the configuration has {count}:", *sorted(lines)])


def _dotted(place: Place) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).removeprefix(".")
