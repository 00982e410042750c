"""Methods under randomisation: fixed classes, any batch size, means over images, and the figure that shows them."""

import numpy as np
import pandas as pd
import pytest
import torch
from studies import make_inputs, with_steps
from torch import nn

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.statistics import interval
from camstudy.analysis.steps import STEPS, summarize_steps
from camstudy.core.errors import CamstudyError
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS
from camstudy.figures import FIGURES, save
from camstudy.metrics.randomization import randomize_explained
from camstudy.metrics.sanity import step_correlation

torch.set_num_threads(1)

SIZE, N = 32, 5
# Fewer steps than a study takes.
FEW = {
    "fovex": {"fixations": 2, "steps": 5, "learning_rate": 0.7, "blur_size": 5, "side": 8},
    "neva": {"fixations": 2, "steps": 5, "learning_rate": 0.7, "side": 8},
    "meaningful_perturbation": {"iterations": 2},
    "extremal_perturbation": {"iterations": 2},
    "opti_cam": {"iterations": 2},
    "rise": {"n_masks": 6},
    "smoothgrad": {"samples": 2},
    "integrated_gradients": {"steps": 2},
    "pytorch_grad_cam": {"class_name": "EigenGradCAM"},
}
EXPLAINING = [name for name, method in METHODS.items() if method.needs != "dataset" and not method.variant]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.features, self.head = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 10, 3, 2, 1), nn.Linear(10, 4)

    def forward(self, x):
        return self.head(self.features(self.stem(x).relu()).relu().mean((2, 3)))


def explainer(name="gradcam", target="label"):
    torch.manual_seed(0)
    model = Net().eval()
    inputs = {"size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3}
    method = {"method": name, "parameters": FEW.get(name, {}), "target": target, "geometry": "aligned"}
    return Explainer(model, resolve_target_layer(model, "features"), inputs, method)


IMAGES = torch.randn(N, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
LABELS = np.arange(N) % 4
OPTIONS = {"numbers": np.arange(N) * 3, "max_steps": 3}


def randomized(*args, batch_size=N, **options):
    return randomize_explained(explainer(*args), IMAGES, LABELS, batch_size=batch_size, **{**OPTIONS, **options})


@pytest.mark.parametrize("name", [name for name in EXPLAINING if not METHODS[name].attention])
def test_every_method_can_be_tried_in_any_batches(name):
    found, again = randomized(name), randomized(name, batch_size=2)
    assert found.steps == again.steps == ["head", "features", "stem"]
    assert found.evidence["step_correlation"].shape == (N, 3)
    np.testing.assert_array_equal(found.target, LABELS)
    for key, values in found.evidence.items():
        np.testing.assert_allclose(values, again.evidence[key], atol=0.02)
    # Maps that ask neither weights nor activations cannot change.
    if name == "fake_cam":
        assert (found.evidence["step_correlation"] == 1).all()
    else:
        assert (found.evidence["step_correlation"][:, -1] < 1).all()


def test_the_predicted_class_stays_that_of_the_trained_model():
    seen = []
    tried = explainer(target="predicted")
    inner = tried.explain

    class Watching(Explainer):
        def explain(self, *args, **options):
            maps, found = inner(*args, **options)
            seen.append((maps, found))
            return maps, found

    watching = Watching(tried.model, tried.layer, tried.inputs, tried.method)
    result = randomize_explained(watching, IMAGES, LABELS, batch_size=2, seed=3, **OPTIONS)
    with torch.no_grad():
        predicted = tried.model(IMAGES).argmax(1).numpy()
    np.testing.assert_array_equal(result.target, predicted)
    assert len(seen) == 1 + 3
    for _, found in seen:
        np.testing.assert_array_equal(found.target, predicted)
    assert any((found.predicted != predicted).any() for _, found in seen[1:]), "or the test would say nothing"
    expected = [step_correlation(seen[0][0], maps) for maps, _ in seen[1:]]
    np.testing.assert_array_equal(result.evidence["step_correlation"], np.stack(expected, 1))


def test_degenerate_maps_are_told():
    tried = explainer()
    with torch.no_grad():
        tried.model.head.weight.zero_()  # stays zero: there is nothing to draw from
    found = randomize_explained(tried, IMAGES, LABELS, batch_size=N, **OPTIONS)
    assert found.degenerate.all()
    assert found.evidence["step_degenerate"].all()
    assert (found.evidence["step_correlation"] == 0).all()
    assert not randomized().degenerate.any()


VALUES = np.array([[0.9, 0.1], [0.5, -0.3], [0.7, 0.5], [0.0, 0.2]])
FLAGS = np.array([[0, 0], [0, 0], [0, 0], [1, 0]], bool)


def frame(values=VALUES, flags=FLAGS):
    n, count = values.shape
    return pd.DataFrame(
        {
            "image": np.repeat(np.arange(n), count),
            "step": np.tile(np.arange(1, count + 1), n),
            "step_name": np.tile(["fc", "conv"][:count], n),
            "correlation": values.ravel(),
            "correlation_absolute": np.abs(values).ravel(),
            "degenerate": flags.ravel(),
        }
    )


@pytest.mark.parametrize("policy", ["score", "skip"])
def test_means_and_intervals_by_step(policy):
    settings = Settings(resamples=199, seed=3, degenerate=policy)
    shuffled = frame().sample(frac=1, random_state=0)
    found = summarize_steps({("net", "cam"): shuffled}, dataset="d", settings=settings)
    assert tuple(found.columns) == STEPS
    assert found["step"].tolist() == [0, 1, 2]
    assert found["name"].tolist() == ["trained", "fc", "conv"]
    assert found[["mean", "ci_low", "ci_high", "n"]].iloc[0].tolist() == [1, 1, 1, 4]
    first = VALUES[:3, 0] if policy == "skip" else VALUES[:, 0]
    for row, values in ((1, first), (2, VALUES[:, 1])):
        low, high = interval(values, **settings.bootstrap)
        expected = [values.mean(), low, high, len(values)]
        assert found[["mean", "ci_low", "ci_high", "n"]].iloc[row].tolist() == pytest.approx(expected)
        of_magnitudes = [np.abs(values).mean(), *interval(np.abs(values), **settings.bootstrap)]
        columns = ["absolute", "absolute_low", "absolute_high"]
        assert found[columns].iloc[row].tolist() == pytest.approx(of_magnitudes)
    assert found["n_degenerate"].tolist() == [0, 1, 0]


def test_no_map_left_and_broken_scores():
    skip = Settings(resamples=199, degenerate="skip")
    found = summarize_steps({("net", "cam"): frame(flags=np.ones((4, 2), bool))}, dataset="d", settings=skip)
    assert found["n"].tolist() == [4, 0, 0]
    assert found["mean"].isna().tolist() == [False, True, True]
    broken = [pd.concat([frame(), frame().head(1)]), frame(np.where(FLAGS, np.nan, VALUES))]
    for table, message in zip(broken, ("more than once", "not finite"), strict=True):
        with pytest.raises(CamstudyError, match=f"model `net`, method `cam`: .*{message}"):
            summarize_steps({("net", "cam"): table}, dataset="d", settings=skip)


@pytest.mark.parametrize(("n_models", "n_methods"), [(1, 18), (3, 2), (4, 4)])
def test_a_panel_per_model_and_a_line_per_method(n_models, n_methods, tmp_path):
    inputs = with_steps(make_inputs(), n_models, n_methods)
    figure = FIGURES["randomization"].function(inputs)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [inputs.title(m) for m in inputs.study["models"]]
    for axis, model in zip(figure.axes, inputs.study["models"], strict=True):
        for bars, method in zip(axis.containers, inputs.study["methods"], strict=True):
            rows = inputs.steps[(inputs.steps["model"] == model) & (inputs.steps["method"] == method)]
            rows = rows.sort_values("step")
            x, y = bars.lines[0].get_xydata().T
            np.testing.assert_array_equal(y, rows["mean"])
            assert x[0] == 0
            assert np.round(x).tolist() == [0, 1, 2, 3]
            ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
            np.testing.assert_allclose(ends, rows[["ci_low", "ci_high"]])
        labels = [label.get_text() for label in axis.get_xticklabels()]
        assert labels == ["trained", "head.fc", "stages.3.2", "…wnsample.norm"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"Method{i}" for i in range(n_methods)]
    handles = legend.legend_handles
    looks = {(line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in handles}
    assert len(looks) == n_methods
    save(figure, tmp_path / "figure.png")
    # What is drawn stays on the page.
    height = figure.get_size_inches()[1] * figure.dpi
    assert legend.get_window_extent().y0 >= 0
    assert legend.get_window_extent().y1 <= height


def test_the_note_counts_degenerate_maps():
    assert "constant" not in FIGURES["randomization"].function(with_steps(make_inputs(), 2, 2)).get_supxlabel()
    note = FIGURES["randomization"].function(with_steps(make_inputs(), 2, 2, n_degenerate=3)).get_supxlabel()
    note = note.replace("\n", " ")
    assert "50 images; cascade; 12 correlations of constant or non-finite maps counted as 0" in note
