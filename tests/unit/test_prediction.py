import numpy as np
import pytest
import scipy.special
from sklearn.metrics import top_k_accuracy_score

from camstudy.core.errors import CamstudyError
from camstudy.metrics.prediction import check_labels, probability, score_prediction, top1, top5

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (400, 12)).astype(np.float32)
LABELS = RNG.integers(0, 12, 400)


def test_columns_and_types():
    scores = score_prediction(LOGITS, LABELS)
    types = {name: values.dtype.name for name, values in scores.items()}
    assert types == {"predicted": "int64", "top1": "bool", "top5": "bool", "probability": "float64"}
    assert all(values.shape == (400,) for values in scores.values())


def test_accuracies_equal_those_of_sklearn():
    for k, metric in ((1, top1), (5, top5)):
        expected = top_k_accuracy_score(LABELS, LOGITS, k=k, labels=np.arange(12))
        assert metric(LOGITS, LABELS).mean() == pytest.approx(expected)


def test_probability_equals_softmax():
    expected = scipy.special.softmax(LOGITS.astype(np.float64), axis=1)[np.arange(400), LABELS]
    np.testing.assert_allclose(probability(LOGITS, LABELS), expected, rtol=1e-12)


def test_probability_of_huge_logits_does_not_overflow():
    logits = np.array([[1e4, 0.0], [-1e4, 1e4]], np.float32)
    assert probability(logits, np.array([0, 0])).tolist() == [1, 0]


def test_top1_is_a_correct_prediction_even_with_ties():
    logits = RNG.integers(0, 3, (300, 8)).astype(np.float32)
    labels = RNG.integers(0, 8, 300)
    scores = score_prediction(logits, labels)
    assert scores["predicted"].tolist() == logits.argmax(axis=1).tolist()
    assert scores["top1"].tolist() == (scores["predicted"] == labels).tolist()
    order = np.argsort(-logits, axis=1, kind="stable")
    assert scores["top5"].tolist() == [label in row[:5] for row, label in zip(order, labels, strict=True)]


def test_top5_is_trivial_with_five_classes():
    assert top5(LOGITS[:, :5], LABELS % 5).all()
    assert not top5(LOGITS[:, :6], LABELS % 6).all()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (LOGITS, LABELS[:-1], "expected logits"),
        (LOGITS[0], LABELS, "expected logits"),
        (LOGITS, LABELS + 1, "labels must lie in 0..11, found 1..12"),
        (LOGITS, LABELS - 1, "labels must lie"),
        (np.where(LOGITS > 8, np.nan, LOGITS), LABELS, "non-finite"),
    ],
)
def test_impossible_input_is_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        score_prediction(logits, labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, -1], "images without a label"), ([0, 4], "labels up to 4, but the model has 4 classes")],
)
def test_labels_that_no_model_could_give_are_refused(labels, message):
    check_labels(np.array([0, 3]), 4, "photos.zarr")
    with pytest.raises(CamstudyError, match=f"photos.zarr: has {message}; set `prediction_dataset`"):
        check_labels(np.array(labels), 4, "photos.zarr")
