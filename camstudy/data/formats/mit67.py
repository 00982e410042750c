"""MIT-67 Indoor Scenes (Quattoni and Torralba 2009, CVPR): photographs of 67 kinds of rooms and places."""

from collections.abc import Sequence
from pathlib import Path

from camstudy.core.errors import CamstudyError, MissingFiles, unknown
from camstudy.data.formats.files import Files, Root, find
from camstudy.data.formats.photographs import Photograph, mixed

NAME = "indoorCVPR_09"
LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}


def read_mit67(
    root: str | Path | Root,
    split: str = "test",
    scenes: Sequence[str] | None = None,
    images_per_scene: int | None = None,
) -> tuple[Files, list[Photograph]]:
    """Return the files, and the images of the owners' split (``train`` or ``test``) in the order of its list.

    What an image shows stands in its ``caption``: scenes are no classes of the networks that look at them, so that
    there are no labels. Training images are in an order that mixes the scenes.

    Parameters
    ----------
    root : where the lists are, and beside them the archive with the images, or its folder
    split : ``train``, 80 images of each scene, or ``test``, 20
    scenes : names of those to take, in this order; None takes all
    images_per_scene : how many of each, the first of the list; None takes all

    Raises
    ------
    CamstudyError : a list, the archive or an image is missing, a list is damaged, a scene is unknown or has too few
        images.
    """
    root = root if isinstance(root, Root) else Root(root)
    listed = _read_list(root, LISTS[split])
    files = find(root, NAME)
    if files is None:
        raise MissingFiles(f"{root}: has no {NAME}")
    above = next((place for name in listed if (place := files.above(name)) is not None), "")
    if missing := [name for name in listed if above + name not in files.sizes]:
        text = f"lacks {len(missing)} images of {LISTS[split]}, such as {missing[0]}"
        raise CamstudyError(f"{files.path}: {text}; fetch it again")
    groups: dict[str, list[str]] = {}
    for name in listed:
        groups.setdefault(name.split("/")[0], []).append(name)
    if scenes:
        for scene in scenes:
            if scene not in groups:
                raise CamstudyError(f"{root}, {LISTS[split]}: {unknown('scene', scene, groups)}")
        listed = [name for scene in scenes for name in groups[scene]]
    if images_per_scene:
        few = {scene: len(groups[scene]) for scene in scenes or groups if len(groups[scene]) < images_per_scene}
        for scene, count in few.items():
            raise CamstudyError(
                f"{root}, {LISTS[split]}: has {count} images of {scene}, and `images_per_scene` asks for "
                f"{images_per_scene}; ask for fewer"
            )
        listed = [name for name in listed if name in groups[name.split("/")[0]][:images_per_scene]]
    photographs = [Photograph(above + name, caption=name.split("/")[0]) for name in listed]
    return files, mixed(photographs) if split == "train" else photographs


def _read_list(root: Root, name: str) -> list[str]:
    """Return the lines of a list: scene and file with a slash between, each once."""
    beside = root.open("")
    if name not in beside.sizes:
        raise MissingFiles(f"{root}: has no {name}")
    lines = [line.strip() for line in beside.read(name).decode(errors="replace").splitlines() if line.strip()]
    wrong = next((line for line in lines if line.count("/") != 1 or ".." in line or not all(line.split("/"))), None)
    if wrong is not None or not lines:
        found = f"the line {wrong!r}" if lines else "no lines"
        raise CamstudyError(f"{root}, {name}: found {found}, expected scene/file; fetch it again")
    if len({*lines}) < len(lines):
        twice = next(line for line in lines if lines.count(line) > 1)
        raise CamstudyError(f"{root}, {name}: has {twice} more than once; fetch it again")
    return lines
