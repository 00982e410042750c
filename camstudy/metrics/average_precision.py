"""Mean average precision of multi-label data, a metric of a whole dataset."""

import numpy as np

from camstudy.core.average_precision import mean_of_all
from camstudy.metrics.registry import METRICS

# In scores of predictions: arrays (classes,) for each image.
LOGITS, LABEL_SET = "class_logit", "label_set"


@METRICS.register(
    "mean_average_precision",
    family="prediction",
    direction="up",
    range=(0.0, 1.0),
    level="dataset",
    label="mAP",
    source="Torres et al. 2024 (arXiv 2404.14996) with scikit-learn's average_precision_score",
    needs=(LOGITS, LABEL_SET),
    unit="%",
)
def mean_average_precision(logits: np.ndarray, sets: np.ndarray) -> float:
    """Return the mean over classes of the average precision, of multi-label data.

    Of a class, images are ranked by its logit: AP = sum_n (R_n - R_{n-1}) P_n, with recall R_n and precision P_n of all
    images down to the n-th distinct logit, without interpolation. The development kit of Pascal VOC since 2010 takes,
    for P_n, the largest precision at any higher recall: values by it are a little higher. ``logits`` are (n, classes),
    ``sets`` (n, classes): 1 for classes that are in the image, 0 for others; an image does not count for classes that
    are neither (-1), as those of which VOC has difficult objects alone. Each image counts once, however many items it
    has.

    Edge cases: images of one logit come in together. Classes that no image has are left out of the mean. The interval
    resamples images, with all their classes.

    >>> mean_average_precision(np.array([[2.0], [1.0], [0.0]]), np.array([[1], [0], [1]])).round(4)
    0.8333
    """
    return mean_of_all(logits, sets)
