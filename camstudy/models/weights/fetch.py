"""Starting weights from where a catalogue entry says: fetched, verified, fitted to the network, and recorded."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from camstudy.core.addresses import file_name, redact
from camstudy.core.download import fetch
from camstudy.core.errors import CamstudyError
from camstudy.core.paths import expanded
from camstudy.core.provenance import sha256_file
from camstudy.models.build import build_model, timm_config, timm_weights_file
from camstudy.models.load import includes_variant
from camstudy.models.timm_names import CLASSES, random_head
from camstudy.models.weights.checkpoints import load_into, load_state, load_weights, timm_names
from camstudy.models.weights.names import BY_POSITION, unwrapped


def fetch_weights(entry: Mapping, folder: Path) -> tuple[nn.Module, dict]:
    """Return a model with its starting weights, on the CPU, and the record of where they come from.

    The model has its variants if the weights include them, else it is the plain architecture. One that is trained may
    have weights without a classifier, or timm's for other classes: its own then stays random, as the record says.

    Parameters
    ----------
    entry : catalogue entry whose ``weights`` is a mapping with ``path``, ``url`` or ``timm``
    folder : where a download lives until it is loaded; removed afterwards, unless the download was cut off and
        can go on

    Raises
    ------
    CamstudyError
        for weights that cannot be had, have another checksum or do not fit, or would leave the classifier of a model
        that is not trained random, and for an address whose file name would lie in another folder.
    """
    source = entry["weights"]
    where = redact(source.get("url") or "") or source.get("path") or f"timm, {entry['arch']}"
    if source.get("url"):
        path = folder / file_name(source["url"], default="weights")
        try:
            digest = fetch(source["url"], path, source.get("sha256"))
        finally:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    else:
        path = Path(expanded(source["path"])) if "path" in source else timm_weights_file(entry["arch"])
        digest = sha256_file(path)
        if source.get("sha256") not in (None, digest):
            raise CamstudyError(
                f"{path}: its sha256 is {digest}, expected {source['sha256']}; delete the file and get it again, or"
                " correct `weights.sha256` if this is the file you mean"
            )
    model = build_model(entry, variants=includes_variant(entry))
    try:
        classes = 1 if entry.get("binary") else entry.get("num_classes", CLASSES)
        if source.get("timm"):
            lost = _load_timm(model, entry["arch"], classes, path)
        else:
            lost = 0 if _load_file(model, path, source, classes) else None
        if not entry.get("train") and (wrong := random_head(lost, classes)):
            raise CamstudyError(wrong)
    except CamstudyError as error:
        raise CamstudyError(f"weights from {where}: {error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record = {
        "source": where,
        "sha256": digest,
        "pinned": source.get("sha256") is not None,
        "include_variant": includes_variant(entry),
        **({"names": BY_POSITION} if source.get("names") == BY_POSITION else {}),
    }
    if lost is not None:
        record["random_head"] = True
    if not record["pinned"]:
        record["advice"] = "to have this very file from now on, set `weights.sha256` of the model to this sha256"
    return model, record


def _load_file(model: nn.Module, path: Path, source: Mapping, classes: int) -> bool:
    return load_weights(model, path, key=source.get("key"), headless_for=classes, names=source.get("names"))


def _load_timm(model: nn.Module, arch: str, classes: int, path: Path) -> int | None:
    """Load a file of timm's; if the model has other classes than it, the classifier keeps its initial weights.

    Returns the number of the file's classes then, 0 for a file without a classifier; else None.
    """
    cfg, own = timm_config(arch), model.state_dict()
    state = unwrapped(own, load_state(path))
    if not state.keys() <= own.keys():
        state = timm_names(model, state, where=str(path))
    state, lost = dict(state), None
    background = cfg.label_offset or 0  # classes before the first that the labels count
    classifiers = [cfg.classifier] if isinstance(cfg.classifier, str) else cfg.classifier or ()
    for name in (f"{classifier}.{part}" for classifier in classifiers for part in ("weight", "bias")):
        if name in state and name in own:
            if len(state[name]) == cfg.num_classes + background:
                state[name] = state[name][background:]
            if len(own[name]) != cfg.num_classes and len(state[name]) == cfg.num_classes:
                state[name], lost = own[name], cfg.num_classes
    lacks_head = load_into(model, state, where=str(path), headless_for=classes, ordered=False)
    return 0 if lacks_head else lost
