"""Scores of single images, as figures show them: those of the images that count in a study."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from camstudy.analysis.counting import ALL, read_counting
from camstudy.core.parts import read_tables


def read_images(records: Sequence[str], correct: Sequence[str], study: Mapping) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the scores of images by model and method, a row for each image that counts.

    Parameters
    ----------
    records : of the scores of one protocol, several where jobs share the images
    correct : of what each of the study's models predicts, where that decides which images count
    study : ``models``, ``degenerate`` and perhaps ``images``; with ``degenerate: skip``, images with a degenerate map
        are left out
    """
    frames = read_tables([_key(record) for record in records], records)
    frames = read_counting({"images": ALL} | dict(study), correct).frames(frames)
    if study["degenerate"] == "skip":
        kept = {key: frame for key, frame in frames.items() if "degenerate" in frame}
        frames |= {key: frame[~frame["degenerate"].to_numpy(dtype=bool)] for key, frame in kept.items()}
    return frames


def _key(record: str) -> tuple[str, str]:
    """Return model and method: `scores/{dataset}/{model}/{method}/{protocol}{part}.json`."""
    path = Path(record).with_suffix("")
    _, model, method, _ = (path.parent if re.fullmatch(r"\d{5,}-\d{5,}", path.name) else path).parts[-4:]
    return model, method
