"""Build the network of a catalogue entry: a timm name or import path, keyword arguments, variants."""

import difflib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import timm
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError
from timm.data import resolve_data_config
from timm.models import PretrainedCfg, get_pretrained_cfg
from timm.models._registry import get_deprecated_models
from torch import nn

from camstudy.core.addresses import redact_text
from camstudy.core.errors import CamstudyError, unknown
from camstudy.core.geometry import CROP_MODES
from camstudy.models.adapting import adapt_entry
from camstudy.models.seeding import seeded
from camstudy.models.variants import VARIANTS

INTERPOLATIONS = ("bilinear", "bicubic")
# Arguments of constructors, of timm and of others, that fill networks with weights from elsewhere.
FETCHING = {"pretrained", "checkpoint_path"}
FETCHING_TORCHVISION = FETCHING | {"weights", "weights_backbone", "pretrained_backbone"}
INPUT_KEYS = ("size", "crop_pct", "crop_mode", "interpolation", "mean", "std")


def build_model(entry: Mapping, *, variants: bool = True, seed: int = 0) -> nn.Module:
    """Return the network of a catalogue entry with random weights, in training mode, on the CPU.

    Parameters
    ----------
    entry : ``arch``, a timm name (``resnet50.a1_in1k``) or the import path of a callable that returns a
        module (``timm.models.resnet.ResNet``), and optionally ``kwargs``, ``num_classes`` and ``variant``. In
        ``kwargs`` a string ``import:a.b.C``, alone or in a list, stands for the object of that path. With ``output``,
        ``binary`` and the ``channels`` of ``input`` it becomes a network of colored images that returns logits, see
        `camstudy.models.adapting`; its parameters are float32 in any case.
    variants : whether to apply the entry's variants; without, the network is the baseline that they start
        from
    seed : of the initial weights; torch's own generators are left as they were

    Raises
    ------
    CamstudyError
        for an unknown architecture, an import that fails, arguments that the constructor refuses, an unknown
        variant.
    """
    with seeded(seed):
        model = _construct(entry).float()
    adapt_entry(model, entry)
    return apply_variants(model, entry, seed=seed) if variants else model


def apply_variants(model: nn.Module, entry: Mapping, *, seed: int = 0) -> nn.Module:
    """Apply the variants of a catalogue entry, in their order, to a network that may hold trained weights.

    The network is changed in place where the variant can; use what is returned. Raises `CamstudyError` for an
    unknown variant and for parameters that it does not have or misses.
    """
    for name, params in (entry.get("variant") or {}).items():
        function = VARIANTS[name].function
        params = dict(params or {})
        accepted = inspect.signature(function).parameters.keys() - {"model", "seed"}
        for key in params.keys() - accepted:
            raise unknown(f"parameter of variant `{name}`", key, accepted)
        try:
            inspect.signature(function).bind(model, seed=seed, **params)
        except TypeError as error:
            raise CamstudyError(f"variant.{name}: {error}") from None
        model = function(model, seed=seed, **params)
    return model


def fold_variants(model: nn.Module, entry: Mapping) -> nn.Module:
    """Return the network of a catalogue entry for inference: what only its variants' training needs is folded."""
    for name in entry.get("variant") or {}:
        model = VARIANTS[name].fold(model)
    return model


def timm_weights_file(arch: str) -> Path:
    """Return the file with the weights that timm publishes for a name; it is downloaded on first use.

    Nearly all are on the Hugging Face hub, whose client resumes downloads and keeps them in its cache
    (``HF_HOME``), which also serves machines without internet. Raises `CamstudyError` if timm has no weights or
    they cannot be fetched.
    """
    if not _is_timm_name(arch):
        raise CamstudyError(f"weights.timm: `{arch}` is an import path; only a timm name has timm weights")
    cfg = timm_config(arch)
    if cfg is None or not cfg.hf_hub_id:
        where = f"{{timm: true, url: {cfg.url}}}" if cfg and cfg.url else "{path: ...}"
        raise CamstudyError(f"weights.timm: the hub has no weights for `{arch}`; give `weights: {where}`")
    repository, _, revision = cfg.hf_hub_id.partition("@")
    names = [cfg.hf_hub_filename] if cfg.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    try:
        for name in names:
            with suppress(RemoteEntryNotFoundError):
                return Path(hf_hub_download(repository, name, revision=revision or None))
        reason = f"the hub has no {' or '.join(names)} in {repository}"
    except OSError as error:
        # Where the hub sends us, the address may be signed.
        reason = redact_text(str(error).splitlines()[0])
    raise CamstudyError(
        f"weights.timm: the weights of `{arch}` could not be fetched ({reason}); on a machine without internet fetch"
        " them elsewhere and say where they are: `weights: {timm: true, url: file:///...}`"
    )


def input_config(entry: Mapping) -> dict:
    """Return how images are prepared for an entry: size, crop_pct, crop_mode, interpolation, mean and std.

    Keys of ``entry["input"]`` come first, then those timm gives for the name, then timm's defaults (224
    pixels, crop_pct 0.875 of the center, bicubic, ImageNet mean and standard deviation). Raises `CamstudyError` for an
    unknown key, interpolation or crop mode, an input that is not square, and colors of grey images that differ.
    """
    given = dict(entry.get("input") or {})
    channels = given.pop("channels", None)
    for key in given:
        if key not in INPUT_KEYS:
            raise unknown("key of `input`", key, INPUT_KEYS)
    cfg = timm_config(entry["arch"]) if _is_timm_name(entry["arch"]) else None
    known = resolve_data_config(pretrained_cfg=cfg.to_dict() if cfg else {"input_size": (3, 224, 224)})
    _, height, width = known["input_size"]
    if height != width and "size" not in given:
        raise CamstudyError(f"input.size: `{entry['arch']}` takes {height}x{width} images; give the side of a square")
    config = {"size": height, **{key: known[key] for key in INPUT_KEYS[1:]}, **given}
    if config["interpolation"] not in INTERPOLATIONS:
        raise unknown("input.interpolation", config["interpolation"], INTERPOLATIONS)
    if config["crop_mode"] not in CROP_MODES:
        raise unknown("input.crop_mode", config["crop_mode"], CROP_MODES)
    for key in ("mean", "std"):
        if channels == 1 and len({*config[key]}) > 1:
            raise CamstudyError(
                f"input.{key}: found {list(config[key])}, but with `channels: 1` all colors have the same; give that "
                "of grey images three times"
            )
    return config | {"mean": list(config["mean"]), "std": list(config["std"])}


def timm_config(arch: str) -> PretrainedCfg | None:
    """Return what timm publishes with a name, which may be one of its older versions; None if that is nothing.

    Raises `CamstudyError` for a name or a tag that timm does not know.
    """
    return get_pretrained_cfg(_checked_timm_name(arch))


def output_count(entry: Mapping) -> int:
    """Return how many outputs the classifier of an entry has: one for each class, or one for two."""
    return 1 if entry.get("binary") else entry["num_classes"]


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters; a tensor that several layers share counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _construct(entry: Mapping) -> nn.Module:
    arch = entry["arch"]
    fetching = FETCHING_TORCHVISION if arch.startswith("torchvision.") else FETCHING
    for key in fetching & (entry.get("kwargs") or {}).keys():
        if entry["kwargs"][key]:
            raise CamstudyError(
                f"kwargs.{key}: `{arch}` would fetch weights whenever it is built, and records would call them random; "
                "remove it, and say where they are in the study: `weights: {timm: true}`, `{url: ...}` or `{path: ...}`"
            )
    kwargs = {name: _resolve(value) for name, value in (entry.get("kwargs") or {}).items()}
    if entry.get("num_classes") is not None:
        kwargs["num_classes"] = output_count(entry)
    if _is_timm_name(arch):
        name = _checked_timm_name(arch)
        return _call(arch, lambda **given: timm.create_model(name, **given), kwargs)
    constructor = _import(arch, "arch")
    model = _call(arch, constructor, kwargs)
    if not isinstance(model, nn.Module):
        raise CamstudyError(f"arch: `{arch}` returned a {type(model).__name__}; it must return a torch.nn.Module")
    return model


def _call(arch: str, constructor: Callable, kwargs: Mapping) -> object:
    try:
        return constructor(**kwargs)
    except (TypeError, ValueError, AssertionError, LookupError) as error:
        refused = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if refused and (near := _nearest(refused[1], _parameter_names(constructor))):
            raise unknown(f"keyword argument of `{arch}`", refused[1], near) from error
        raise CamstudyError(
            f"kwargs: `{arch}` refuses {dict(kwargs)} ({type(error).__name__}: {error}); mend `kwargs` or `num_classes`"
        ) from error
    except (RuntimeError, OSError, AttributeError, ArithmeticError, ImportError, NameError) as error:
        raise CamstudyError(
            f"arch: `{arch}` cannot be built with {dict(kwargs)} ({type(error).__name__}: {error}); mend `kwargs`, or "
            "the network"
        ) from error


def _parameter_names(constructor: Callable) -> list[str]:
    return [p.name for p in inspect.signature(constructor).parameters.values() if p.kind is not p.VAR_KEYWORD]


def _resolve(value: object) -> object:
    if isinstance(value, list):
        return [_resolve(item) for item in value]
    if isinstance(value, str) and value.startswith("import:"):
        return _import(value.removeprefix("import:"), "kwargs")
    return value


def _import(path: str, key: str) -> object:
    """Return the object of a dotted path ``package.module.name``."""
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        near = _nearest(path.partition(".")[0], timm.list_models()) if key == "arch" else []
        raise CamstudyError(
            f"{key}: `{path}` cannot be imported ({error}); give `package.module.name` of something installed"
            + (f", or the timm name `{near[0]}`?" if near else "")
        ) from None
    if not hasattr(module, name):
        raise unknown(
            f"name in {module_name} ({key})",
            path,
            [f"{module_name}.{n}" for n in _nearest(name, dir(module))],
        )
    return getattr(module, name)


def _is_timm_name(arch: str) -> bool:
    """Whether a name is meant for timm: timm knows what precedes the tag, or nothing importable does."""
    head, dot, _ = arch.partition(".")
    return timm.is_model(head) or not dot


def _checked_timm_name(arch: str) -> str:
    """Return a timm name, of an old one what it is called today.

    Raises `CamstudyError` if timm knows no such model or no such tag of it.
    """
    arch = get_deprecated_models().get(arch) or arch
    head, dot, _ = arch.partition(".")
    if not timm.is_model(head):
        raise unknown("timm model", arch, _nearest(head, timm.list_models()))
    tagged = timm.list_pretrained(f"{head}.*")
    if dot and arch not in tagged:
        raise unknown("timm weights tag", arch, tagged)
    return arch


def _nearest(name: str, valid: Iterable[str]) -> list[str]:
    """Return at most one name, so that an error does not list a thousand."""
    return difflib.get_close_matches(name, list(valid), n=1)
