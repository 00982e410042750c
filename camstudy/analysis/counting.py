"""Which images of a study count: all, those that the model classifies correctly, or those that all its models do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from camstudy.core.errors import CamstudyError
from camstudy.core.parts import read_tables
from camstudy.metrics.average_precision import LABEL_SET

ALL, CORRECT, BY_ALL = "all", "correct", "correct_by_all"


def is_correct(prediction: pd.DataFrame) -> np.ndarray:
    """Return whether a model, given the whole image, is right about each, as bool (n,).

    ``prediction`` has a row per image, as `scripts/prediction.py` writes it. Right is who puts the label first; of
    multi-label data, whose rows are items, who finds the item's class more probable than not.
    """
    if LABEL_SET in prediction:
        return prediction["probability"].to_numpy() > 0.5
    if "top1" not in prediction:
        raise CamstudyError(
            "`images`: predictions have no column `top1`, so that no image is known to be classified correctly; take "
            "`images: all`"
        )
    return prediction["top1"].to_numpy(dtype=bool)


@dataclass(frozen=True)
class Counting:
    """The images that count: ``images`` has their positions by model. All count for others.

    >>> counting = Counting({"net": np.array([0, 2])})
    >>> counting.keep(pd.DataFrame({"image": [0, 1, 2], "spearman": [0.5, 0.1, 0.3]}), "net")["spearman"].tolist()
    [0.5, 0.3]
    """

    images: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, policy: str, predictions: Mapping[str, pd.DataFrame]) -> "Counting":
        """Return those of a policy, given what each model of the study predicts for the dataset.

        With `correct`, each model has its own, and controls that look at no model have all; with `correct_by_all`,
        models and controls have the same. Raises `CamstudyError` where none is left.
        """
        if policy == ALL:
            return cls({})
        right = {model: frame.loc[is_correct(frame), "image"].to_numpy() for model, frame in predictions.items()}
        for model, images in right.items():
            if len(images) == 0:
                n = len(predictions[model])
                raise CamstudyError(
                    f"`images`: found {policy}, but `{model}` classifies none of the {n} images correctly, and none "
                    "would count; take `images: all`, or another model"
                )
        if policy == CORRECT:
            return cls(right)
        common = next(iter(right.values()))
        for images in right.values():
            common = np.intersect1d(common, images)
        if len(common) == 0:
            raise CamstudyError(
                f"`images`: found {policy}, but no image is classified correctly by all of {', '.join(right)}; take "
                "`images: correct`, or other models"
            )
        return cls(dict.fromkeys([*right, "control"], common))

    def keep(self, frame: pd.DataFrame, *models: str) -> pd.DataFrame:
        """Return the rows of scores whose images count for all of these models."""
        for model in models:
            if model in self.images:
                frame = frame[frame["image"].isin(self.images[model])]
        return frame

    def frames(self, frames: Mapping[tuple[str, str], pd.DataFrame]) -> dict[tuple[str, str], pd.DataFrame]:
        """Return the scores by (model, method) with the images that count for each model alone."""
        return {key: self.keep(frame, key[0]) for key, frame in frames.items()}


def explained(
    frames: Mapping[tuple[str, str], pd.DataFrame], controls: Sequence[str]
) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the scores by (model, method) of methods alone: those of controls say nothing of what models differ in.

    So that they are no tests, for whose number p-values are corrected.
    """
    return {key: frame for key, frame in frames.items() if key[1] not in controls}


def read_counting(study: Mapping, records: Sequence[str]) -> Counting:
    """Return the images that count in a study; ``records`` are those of what each of its models predicts, in order."""
    models = study["models"] if study["images"] != ALL else ()
    predictions = read_tables([(model,) for model in models], records)
    return Counting.of(study["images"], {model: frame for (model,), frame in predictions.items()})
