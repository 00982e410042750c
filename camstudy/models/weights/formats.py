"""Files of weights: what they are by their content, whatever their names end in, and the way out of other formats."""

import pickle
import struct
import zipfile
from pathlib import Path

import safetensors

from camstudy.core.errors import CamstudyError
from camstudy.core.kinds import AGAIN, after, kind

# What torch's reader of pickles raises for bytes that are none, or have become another's: seen in random damage.
DAMAGE = (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError, AssertionError)
DAMAGE += (ArithmeticError, MemoryError, struct.error)

_ZIP = b"PK\3\4"
_TORCH = (_ZIP, b"\x80")  # an archive, or a pickle as torch wrote until 1.5
_UNPACK = "unpack it, and give the file within"
# What to do with files that are no weights, by what `kind` calls them; of others, what it says.
_ADVICE = {
    "an HDF5 file": "if Keras wrote it, take weights of PyTorch, or convert them",
    "a NumPy array": "save the weights by their names with `safetensors.torch.save_file`",
    "a zip archive": _UNPACK,
    "compressed by gzip": _UNPACK,
    "a tar archive": _UNPACK,
}


def is_safetensors(path: str | Path) -> bool:
    """Return whether a file is of safetensors, or is called so and is nothing else that is known."""
    with Path(path).open("rb") as file:
        start = file.read(9)
    return _has_header(start) or (Path(path).suffix == ".safetensors" and not start.startswith(_TORCH))


def _has_header(start: bytes) -> bool:
    """Return whether a file begins as those of safetensors: the length of a header, and a mapping in JSON."""
    return start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] < 2**32


def refuse_format(path: Path) -> None:
    """Raise `CamstudyError`, with the way out, for files that are neither torch's checkpoints nor of safetensors."""
    try:
        with path.open("rb") as file:
            start = file.read(1 << 20)
    except OSError as error:
        raise damaged(path, error) from None
    if _has_header(start):
        return
    what, advice = kind(start)
    advice = _ADVICE.get(what, advice)
    if start[:1] == b"\x08":
        what, advice = (
            "no file of torch; if it is ONNX, that has no names of modules",
            "take the weights it was made of",
        )
    elif start[:1] == b"{" and b'"weight_map"' in start:
        what, advice = "the index of a network in several files", "join them, with `safetensors.torch.save_file`"
    elif start[:1] in (b"{", b"["):
        what, advice = "text (JSON)", "give the file of the weights"
    if start.startswith(_ZIP):
        _refuse_archive(path)
    elif start and what:
        raise CamstudyError(f"{path}: cannot be read: it is {what}; {advice}")


def _refuse_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, *DAMAGE) as error:
        raise damaged(path, error) from None
    if all(name.endswith(".npy") for name in members):
        raise CamstudyError(
            f"{path}: is an archive of numpy (.npz), whose layout each author chooses; where timm knows it, load it"
            " with `model.load_pretrained(path)` and save the weights with `safetensors.torch.save_file`"
        )
    if any("/code/" in name for name in members):
        raise CamstudyError(
            f"{path}: is a TorchScript archive, a program with its weights; where you trust it, take them out:"
            " `safetensors.torch.save_file(torch.jit.load(path).state_dict(), file)`"
        )
    if any("exported_program" in name or name.endswith("models/model.json") for name in members):
        raise CamstudyError(
            f"{path}: is an exported program (`torch.export`); where you trust it, take the weights out:"
            " `safetensors.torch.save_file(dict(torch.export.load(path).state_dict), file)`"
        )
    if not any(name.endswith("/data.pkl") for name in members):
        raise CamstudyError(f"{path}: cannot be read: it is a zip archive; {_UNPACK}")


def unreadable(path: str | Path, error: pickle.UnpicklingError) -> CamstudyError:
    """Return the error for a file whose content is no pickle that torch may read, without torch's advice to run it."""
    lines = [line for line in str(error).split("WeightsUnpickler error:")[-1].splitlines() if line.strip()]
    return CamstudyError(
        f"{path}: cannot be read as a checkpoint of torch ({lines[0].strip() if lines else 'no pickle'}); if it is of "
        f"another format, save its weights with `safetensors.torch.save_file`, else {AGAIN}"
    )


def damaged(path: str | Path, error: Exception) -> CamstudyError:
    """Return the error for a file that cannot be read: what to do depends on why."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    advice = after(error) if isinstance(error, PermissionError) else f"it may be incomplete: {AGAIN}"
    return CamstudyError(f"{path}: cannot be read ({reason}); {advice}")


def metadata_of(path: str | Path) -> dict[str, str]:
    """Return what a file of safetensors has beside its tensors; nothing for another file."""
    try:
        if not is_safetensors(path):
            return {}
        with safetensors.safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise damaged(path, error) from None
