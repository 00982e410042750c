"""The figure of single images' scores: rows of the same images, and what is read for it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from studies import make_inputs, with_images
from test_pipeline import Wildcards, study

from camstudy.analysis.images import read_images
from camstudy.core.errors import CamstudyError
from camstudy.core.parts import write_scores
from camstudy.core.provenance import write_record
from camstudy.figures import FIGURES
from camstudy.metrics.faithfulness import average_drop, average_gain, masked_probability
from camstudy.pipeline.inputs import Inputs


def draw(inputs):
    return FIGURES["distribution"].function(inputs)


def means(axis):
    """Return the places of the diamonds: mean and row."""
    return [tuple(line.get_xydata()[0]) for line in axis.lines if line.get_marker() == "D"]


def test_titles_of_several_lines_have_room():
    figure = draw(with_images(make_inputs({"net": "A vision transformer with registers at 384"}), 20))
    figure.draw_without_rendering()
    first, second = (label.get_window_extent() for label in figure.axes[0].get_yticklabels())
    assert first.height > 2 * 8 / 72 * figure.dpi
    assert first.y0 > second.y1


def test_a_panel_per_method_has_a_row_per_model_of_the_same_images():
    inputs = with_images(make_inputs(), 50)
    models = inputs.study["models"]
    # Of one model, an image has no score, and of another, one is not there.
    inputs.images[models[0], "gradcam"].loc[3, "spearman"] = np.nan
    key = models[5], "threshold_gradcam"
    inputs.images[key] = inputs.images[key].drop(index=7)
    figure = draw(inputs)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Grad-CAM", "Threshold-Grad-CAM"]
    left = [image for image in range(50) if image not in (3, 7)]
    for axis, method in zip(figure.axes, inputs.study["methods"], strict=True):
        scores = [inputs.images[model, method].set_index("image").loc[left, "spearman"] for model in models]
        assert means(axis) == [(pytest.approx(values.mean()), row) for row, values in enumerate(scores)]
        points = [collection.get_offsets()[:, 0] for collection in axis.collections]
        for found, values in zip(points, scores, strict=True):
            np.testing.assert_allclose(found, values)
        medians = sorted(
            (line.get_ydata().mean(), line.get_xdata()[0]) for line in axis.lines if line.get_linewidth() == 1.6
        )
        np.testing.assert_allclose([x for _, x in medians], [np.median(values) for values in scores])
    assert "the same n = 48 images in all rows" in figure.get_supxlabel()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [inputs.title(model) for model in models]


def test_methods_of_one_model_are_rows_of_one_panel():
    inputs = make_inputs(compare=False)
    inputs = with_images(dataclasses.replace(inputs, study=inputs.study | {"models": ["resnet_mini"]}), 700)
    figure = draw(inputs)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Grad-CAM", "Threshold-Grad-CAM"]
    assert len(axis.collections[0].get_offsets()) == 234  # every third
    assert "n = 700 images" in figure.get_supxlabel()
    assert "a point for every 3 images" in figure.get_supxlabel().replace("\n", " ")
    assert len(means(axis)) == 2


def test_the_primary_metric_is_shown():
    inputs = with_images(make_inputs(), 20)
    for frame in inputs.images.values():
        frame["dice_at_10"] = frame["spearman"] / 2
    for primary, label in (
        ("dice_at_10", "Dice@10,"),
        ("alignment", "Spearman with people"),
        (None, "Spearman with people"),
    ):
        figure = draw(dataclasses.replace(inputs, study=inputs.study | {"primary": primary}))
        assert figure.axes[0].get_xlabel().startswith(label), primary


def test_images_that_have_no_score_in_common_are_told():
    inputs = with_images(make_inputs(), 4)
    for frame in inputs.images.values():
        frame["spearman"] = np.nan
    with pytest.raises(CamstudyError, match="`distribution` needs images that all have a score"):
        draw(inputs)
    without = {key: frame.drop(columns="spearman") for key, frame in inputs.images.items()}
    with pytest.raises(CamstudyError, match="the study's protocols give none"):
        draw(dataclasses.replace(inputs, images=without))


class Images:
    n = 4

    def names(self, part):
        return [f"{number}.png" for number in range(4)[part]]


def test_scores_are_read_by_model_and_method_and_those_that_count_are_left(tmp_path):
    records = []
    for model in ("net", "other"):
        for part, images in (("00000-00002", slice(0, 3)), ("00003-00003", slice(3, 4))):
            path = tmp_path / f"scores/photos/{model}/gradcam/human_maps/{part}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            positions = np.arange(4)[images]
            frame = pd.DataFrame({"image": positions, "degenerate": positions == 1, "spearman": positions / 10})
            write_scores(path, frame, Images(), images)
            write_record(path.with_suffix(".json"), "identity", path)
            records.append(str(path.with_suffix(".json")))
    found = read_images(records, [], {"models": ["net", "other"], "degenerate": "score"})
    assert {*found} == {("net", "gradcam"), ("other", "gradcam")}
    assert found["other", "gradcam"]["image"].tolist() == [0, 1, 2, 3]
    found = read_images(records, [], {"models": ["net", "other"], "degenerate": "skip"})
    assert found["net", "gradcam"]["image"].tolist() == [0, 2, 3]


def test_the_probability_of_a_masked_image_follows_from_what_it_loses_and_gains():
    rng = np.random.default_rng(0)
    p, o = rng.random((2, 1000))
    p[:3], o[:3] = (0, 1, 0.5), (0.3, 0.2, 0.5)
    found = masked_probability(p.astype(np.float32), average_drop(p, o), average_gain(p, o))
    np.testing.assert_allclose(found, o, atol=1e-6)


def test_it_is_made_from_the_scores_of_the_primary_metric_and_grids_from_those_of_masked_images():
    def inputs(**changes):
        planned = study(figures=["distribution", "method_grid"], comparisons=[], **changes)
        found = Inputs(planned)
        scores = found.beside_scores(Wildcards(figure="distribution"))["images"]
        masked = [file for *_, file in found.drawn_masked(Wildcards(figure="method_grid"))]
        assert found.drawn_masked(Wildcards(figure="qualitative")) == []
        return scores, masked

    place = "results/scores/tiny/tiny_resnet/gradcam"
    scores, masked = inputs()
    assert scores[0] == f"{place}/human_maps.json"
    assert masked == []
    scores, masked = inputs(protocols=["human_maps", "rise_fast"], tables=["faithfulness"], primary="insertion_auc")
    assert scores[0] == masked[0] == f"{place}/rise_fast.json"
    assert not any("center_bias" in file for file in scores)
    # Without what is lost and gained, the probability of a masked image is not known.
    cut = {"protocols": {"short": {"family": "faithfulness", "metrics": ["average_drop"]}}}
    assert inputs(protocols=["short"], tables=["scores"], catalog=cut)[1] == []
