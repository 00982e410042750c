import numpy as np
import pandas as pd
import pytest
import scipy.stats

from camstudy.analysis.aggregate import (
    COMPARISONS,
    CURVES,
    SCORES,
    Settings,
    compare,
    mean_curves,
    summarize,
    summarize_sweep,
)
from camstudy.core.errors import CamstudyError

N = 60
CEILING = 0.6
SETTINGS = Settings(resamples=500, seed=3)
PAIR = [("base", "dcls")]


def agreement(seed, shift=0.0, degenerate=()):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "image": np.arange(N),
            "label": rng.integers(0, 10, N),
            "target": rng.integers(0, 10, N),
            "degenerate": np.isin(np.arange(N), degenerate),
            "spearman": rng.normal(0.4 + shift, 0.2, N),
            "dice_at_10": rng.random(N),
        }
    )
    frame.loc[frame["degenerate"], ["spearman", "dice_at_10"]] = 0.0
    return frame


def accuracy(seed, share):
    rng = np.random.default_rng(seed)
    columns = {"image": np.arange(N), "label": 1, "predicted": 1, "top1": rng.random(N) < share}
    return pd.DataFrame(columns | {"probability": rng.random(N)})


@pytest.fixture
def frames():
    return {
        ("base", "gradcam"): agreement(0, degenerate=[3, 9, 20]),
        ("dcls", "gradcam"): agreement(1, shift=0.1, degenerate=[9]),
        ("base", ""): accuracy(2, 0.7),
        ("dcls", ""): accuracy(3, 0.9),
        ("control", "random"): agreement(4, shift=-0.4),
    }


def summary(frames, settings=SETTINGS):
    return summarize(frames, dataset="digits", ceiling=CEILING, settings=settings)


def comparison(frames, settings=SETTINGS, pairs=PAIR, partly=()):
    where = {"dataset": "digits", "ceiling": CEILING, "settings": settings}
    return compare(frames, pairs, **where, metrics=("alignment", "top1"), partly=partly)


def row(table, **values):
    found = table[np.logical_and.reduce([table[name] == value for name, value in values.items()])]
    assert len(found) == 1
    return found.iloc[0]


def test_summary_has_a_row_for_every_metric(frames):
    table = summary(frames)
    assert tuple(table.columns) == SCORES
    assert not table.isna().any().any()
    metrics = table.groupby(["model", "method"])["metric"].apply(set).to_dict()
    assert metrics["base", "gradcam"] == {"spearman", "alignment", "dice_at_10"}
    assert metrics["base", ""] == {"top1", "probability"}
    assert set(table["dataset"]) == {"digits"}
    assert set(table["protocol"]) == {""}


def test_long_tables_say_by_which_protocol(frames):
    where = {"dataset": "digits", "ceiling": CEILING, "settings": SETTINGS, "protocol": "human_maps"}
    plain = {"ceiling": CEILING, "dataset": "digits", "settings": SETTINGS}
    for named, other in (
        (summarize(frames, **where), summarize(frames, **plain)),
        (compare(frames, PAIR, **where), compare(frames, PAIR, **plain)),
    ):
        assert set(named["protocol"]) == {"human_maps"}
        pd.testing.assert_frame_equal(named.drop(columns="protocol"), other.drop(columns="protocol"))


def test_means_and_intervals_equal_scipy(frames):
    found = row(summary(frames), model="base", method="gradcam", metric="spearman")
    values = frames["base", "gradcam"]["spearman"].to_numpy()
    expected = scipy.stats.bootstrap((values,), np.mean, n_resamples=500, method="BCa", rng=np.random.default_rng(3))
    assert found["mean"] == pytest.approx(values.mean())
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], expected.confidence_interval)


def test_alignment_is_spearman_over_the_ceiling(frames):
    table = summary(frames)
    rho = row(table, model="dcls", method="gradcam", metric="spearman")
    share = row(table, model="dcls", method="gradcam", metric="alignment")
    for column in ("mean", "ci_low", "ci_high"):
        assert share[column] == pytest.approx(rho[column] / CEILING)


def test_accuracy_has_a_wilson_interval(frames):
    top1 = frames["base", ""]["top1"]
    found = row(summary(frames), model="base", metric="top1")
    expected = scipy.stats.binomtest(int(top1.sum()), N).proportion_ci(method="wilson")
    assert found["mean"] == pytest.approx(top1.mean())
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], expected)
    assert found["n_degenerate"] == 0


@pytest.mark.parametrize(("policy", "n"), [("score", N), ("skip", N - 3)])
def test_degenerate_maps_are_scored_or_skipped_but_always_counted(frames, policy, n):
    values = frames["base", "gradcam"]["spearman"]
    settings = Settings(resamples=500, seed=3, degenerate=policy)
    found = row(summary(frames, settings), model="base", method="gradcam", metric="spearman")
    assert found["mean"] == pytest.approx(values.sum() / n)  # degenerate maps score 0
    assert (found["n"], found["n_degenerate"]) == (n, 3)


def test_nothing_left_is_reported_as_missing(frames):
    for model in ("base", "dcls"):
        frames[model, "gradcam"]["degenerate"] = True
    settings = Settings(resamples=100, degenerate="skip")
    found = row(summary(frames, settings), model="base", method="gradcam", metric="alignment")
    assert found[["mean", "ci_low", "ci_high"]].isna().all()
    assert (found["n"], found["n_degenerate"]) == (0, N)
    pair = row(comparison(frames, settings), method="gradcam")
    assert np.isnan(pair["difference"])
    assert (pair["p"], pair["n"], pair["n_degenerate"]) == (1, 0, N)


def test_comparison_pairs_the_images(frames):
    table = comparison(frames)
    assert tuple(table.columns) == COMPARISONS
    assert list(zip(table["method"], table["metric"], strict=True)) == [
        ("gradcam", "alignment"),
        ("", "top1"),
    ]
    found = row(table, metric="alignment")
    base, dcls = (frames[model, "gradcam"]["spearman"].to_numpy() for model in ("base", "dcls"))
    expected = scipy.stats.bootstrap(
        ((dcls - base) / CEILING,), np.mean, n_resamples=500, method="BCa", rng=np.random.default_rng(3)
    )
    assert found["difference"] == pytest.approx((dcls.mean() - base.mean()) / CEILING)
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], expected.confidence_interval)
    assert found["p"] == scipy.stats.wilcoxon(dcls, base, zero_method="pratt").pvalue
    assert (found["n"], found["n_degenerate"], found["n_tests"]) == (N, 3, 1)
    assert tuple(found[["baseline", "variant"]]) == ("base", "dcls")


def test_accuracies_are_compared_by_mcnemar(frames):
    base, dcls = (frames[model, ""]["top1"] for model in ("base", "dcls"))
    lost, won = int((base & ~dcls).sum()), int((dcls & ~base).sum())
    found = row(comparison(frames), metric="top1")
    assert found["p"] == pytest.approx(scipy.stats.binomtest(won, won + lost).pvalue)
    assert found["difference"] == pytest.approx((won - lost) / N)


def test_skipping_drops_pairs_with_either_map_degenerate(frames):
    found = row(comparison(frames, Settings(resamples=100, degenerate="skip")), method="gradcam")
    base, dcls = (frames[model, "gradcam"].drop([3, 9, 20])["spearman"] for model in ("base", "dcls"))
    assert found["difference"] == pytest.approx((dcls.mean() - base.mean()) / CEILING)
    assert (found["n"], found["n_degenerate"]) == (N - 3, 3)


def test_p_values_are_corrected_over_the_rows_of_each_metric(frames):
    frames |= {("third", method): frames["dcls", method] for method in ("gradcam", "")}
    pairs = [*PAIR, ("base", "third")]
    table = comparison(frames, pairs=pairs)
    assert set(table["n_tests"]) == {2}
    for _, tests in table.groupby("metric"):
        ordered = tests.sort_values("p")
        expected = np.minimum(1, np.maximum.accumulate(ordered["p"] * [2, 1]))
        np.testing.assert_allclose(ordered["p_corrected"], expected)
    plain = comparison(frames, Settings(resamples=100, correction="none"), pairs)
    assert plain["p_corrected"].tolist() == plain["p"].tolist()


def test_no_comparisons_give_an_empty_table(frames):
    table = comparison(frames, pairs=[])
    assert tuple(table.columns) == COMPARISONS
    assert len(table) == 0


def test_numbers_depend_neither_on_row_order_nor_on_other_models(frames):
    shuffled = {key: frame.sample(frac=1, random_state=1) for key, frame in frames.items()}
    pd.testing.assert_frame_equal(summary(shuffled), summary(frames), check_exact=True)
    pd.testing.assert_frame_equal(comparison(shuffled), comparison(frames), check_exact=True)
    alone = summary({key: frames[key] for key in [("dcls", "gradcam")]})
    with_others = summary(frames).query("model == 'dcls' and method == 'gradcam'").reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, with_others, check_exact=True)


def test_the_frames_are_not_changed(frames):
    before = {key: frame.copy() for key, frame in frames.items()}
    summary(frames)
    comparison(frames)
    for key, frame in frames.items():
        pd.testing.assert_frame_equal(frame, before[key])


def test_models_scored_on_different_images_are_refused(frames):
    frames["dcls", "gradcam"] = frames["dcls", "gradcam"].iloc[2:]
    with pytest.raises(CamstudyError, match="2 images are scored for only one of `base` and `dcls`"):
        comparison(frames)


def test_methods_that_some_models_alone_can_have_are_left_out_of_their_pairs(frames):
    expected = comparison(frames)
    frames["dcls", "raw_attention"] = agreement(5)
    pd.testing.assert_frame_equal(comparison(frames, partly=("raw_attention",)), expected)
    frames["base", "raw_attention"] = agreement(6)
    assert set(comparison(frames, partly=("raw_attention",))["method"]) == {*expected["method"], "raw_attention"}


def test_models_scored_with_different_methods_are_refused(frames):
    frames["base", "threshold_gradcam"] = frames["base", "gradcam"]
    with pytest.raises(CamstudyError, match="only one of `base` and `dcls` has scores of `threshold_gradcam`"):
        comparison(frames)


def test_an_unknown_model_is_refused_with_the_nearest_name(frames):
    with pytest.raises(CamstudyError, match="model in a comparison: `dlcs`, did you mean `dcls`"):
        comparison(frames, pairs=[("base", "dlcs")])


@pytest.mark.parametrize("function", [summary, comparison])
def test_broken_scores_are_refused(frames, function):
    good = frames["dcls", "gradcam"]
    frames["dcls", "gradcam"] = pd.concat([good, good.iloc[[4]]])
    with pytest.raises(CamstudyError, match="model `dcls`, method `gradcam`: image 4 occurs more than once"):
        function(frames)
    frames["dcls", "gradcam"] = good.assign(spearman=good["spearman"].where(good["image"] > 1))
    with pytest.raises(CamstudyError, match="`spearman` is not finite for 2 images"):
        function(frames)


@pytest.mark.parametrize("ceiling", [0, -0.5, float("nan"), float("inf")])
def test_an_impossible_ceiling_is_refused(frames, ceiling):
    with pytest.raises(CamstudyError, match="dataset `digits`: human_ceiling must be a positive number"):
        summarize(frames, dataset="digits", ceiling=ceiling, settings=SETTINGS)


def test_unknown_choices_are_refused(frames):
    with pytest.raises(CamstudyError, match="did you mean `skip`"):
        Settings(degenerate="skp")
    with pytest.raises(CamstudyError, match="did you mean `holm`"):
        comparison(frames, Settings(resamples=100, correction="holms"))


def test_some_metrics_alone_are_the_rows_of_all(frames):
    where = {"dataset": "digits", "ceiling": CEILING, "settings": SETTINGS}
    alone = summarize(frames, **where, metrics=("alignment",))
    every = summary(frames)
    pd.testing.assert_frame_equal(alone, every[every["metric"] == "alignment"].reset_index(drop=True))


@pytest.mark.parametrize("policy", ["score", "skip"])
def test_the_sweep_has_the_alignment_of_every_floor(policy):
    floors = [np.nan, 0.0, 0.3]
    parts = [agreement(seed, degenerate=[4, 8]).assign(floor=floor) for seed, floor in enumerate(floors)]
    frame = pd.concat(parts).sort_values(["image", "floor"])[["image", "floor", "spearman", "degenerate"]]
    settings = Settings(resamples=500, seed=3, degenerate=policy)
    table = summarize_sweep({("base", "gradcam"): frame}, dataset="digits", ceiling=CEILING, settings=settings)
    assert [*SCORES, "floor"] == list(table.columns)
    table = table[table["metric"] == "alignment"]
    assert len(table) == len(floors)
    for part, floor in zip(parts, floors, strict=True):
        found = table[table["floor"].isna() if np.isnan(floor) else table["floor"] == floor].iloc[0]
        values = part[~part["degenerate"]]["spearman"] if policy == "skip" else part["spearman"]
        rng = np.random.default_rng(3)
        expected = scipy.stats.bootstrap((values.to_numpy(),), np.mean, n_resamples=500, method="BCa", rng=rng)
        assert found["mean"] == pytest.approx(values.mean() / CEILING)
        interval = np.array(expected.confidence_interval) / CEILING
        np.testing.assert_allclose([found["ci_low"], found["ci_high"]], interval)
        assert (found["n"], found["n_degenerate"]) == (len(values), 2)


def test_settings_of_a_study():
    statistics = {"confidence": 0.9, "resamples": 200, "alpha": 0.05, "correction": "none"}
    study = {"seed": 4, "degenerate": "skip", "statistics": statistics}
    assert Settings.of(study) == Settings(0.9, 200, 4, "skip", "none")


def localization(seed, missing=()):
    """Scores of maps against boxes; images without boxes have no values."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "image": np.arange(N),
            "label": 1,
            "degenerate": False,
            "n_boxes": (~np.isin(np.arange(N), missing)).astype(int),
            "n_boxes_dropped": 0,
            "localization_error": pd.array(rng.random(N) < 0.4, dtype="boolean"),
            "pixel_f1": rng.random(N),
            "box_hits": list((rng.random((N, 255)) < 0.7 * rng.random(255)).astype(np.uint8)),
        }
    )
    columns = ["localization_error", "pixel_f1", "box_hits"]
    frame.loc[list(missing), columns] = None
    return frame


def faithfulness(seed):
    rng = np.random.default_rng(seed)
    columns = {"image": np.arange(N)[::-1], "label": 1, "degenerate": False}
    return pd.DataFrame(columns | {"average_drop": rng.random(N), "average_increase": rng.random(N) < 0.5})


def only_boxes(frames, settings=SETTINGS):
    return summarize(frames, dataset="voc", ceiling=None, settings=settings)


def test_metrics_of_any_family_have_intervals():
    table = only_boxes({("base", "gradcam"): faithfulness(0)})
    drop, increase = (faithfulness(0)[name].to_numpy() for name in ("average_drop", "average_increase"))
    found = row(table, metric="average_drop")
    rng = np.random.default_rng(3)
    expected = scipy.stats.bootstrap((drop[::-1],), np.mean, n_resamples=500, method="BCa", rng=rng)
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], expected.confidence_interval)
    found = row(table, metric="average_increase")
    wilson = scipy.stats.binomtest(int(increase.sum()), N).proportion_ci(method="wilson")
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], wilson)


def test_images_without_boxes_do_not_count():
    frame = localization(0, missing=[3, 9])
    table = only_boxes({("base", "gradcam"): frame})
    kept = frame.drop([3, 9])
    errors = kept["localization_error"].astype(bool)
    found = row(table, metric="localization_error")
    assert (found["mean"], found["n"]) == (pytest.approx(errors.mean()), N - 2)
    wilson = scipy.stats.binomtest(int(errors.sum()), N - 2).proportion_ci(method="wilson")
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], wilson)
    assert row(table, metric="pixel_f1")["mean"] == pytest.approx(kept["pixel_f1"].mean())
    found = row(table, metric="box_accuracy")
    assert (found["mean"], found["n"]) == (np.stack(kept["box_hits"]).mean(0).max(), N - 2)


def test_box_accuracy_is_resampled_as_a_whole():
    """The threshold is chosen anew in each resample, by scipy's general bootstrap here."""
    frame = localization(1)
    hits = np.stack(frame["box_hits"]).astype(float)
    found = row(only_boxes({("base", "gradcam"): frame}), metric="box_accuracy")
    expected = scipy.stats.bootstrap(
        (np.arange(N),),
        lambda images, axis=-1: hits[images].mean(-2).max(-1),
        vectorized=True,
        n_resamples=500,
        method="BCa",
        rng=np.random.default_rng(3),
    )
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], expected.confidence_interval)
    best = hits[:, hits.mean(0).argmax()]
    naive = scipy.stats.binomtest(int(best.sum()), N).proportion_ci(method="wilson")
    assert abs(found["ci_low"] - naive.low) > 0.005  # as if the threshold had been known


def test_box_accuracy_is_the_mean_over_levels():
    frame = localization(1)
    levels = np.stack(frame["box_hits"]) * np.random.default_rng(0).integers(1, 4, (N, 255))
    frame["box_hits"] = list(levels.astype(np.uint8))
    settings = Settings(resamples=100, iou=(0.3, 0.5, 0.7))
    found = row(only_boxes({("base", "gradcam"): frame}, settings), metric="box_accuracy")
    assert found["mean"] == pytest.approx(np.mean([(levels > level).mean(0).max() for level in range(3)]))
    assert found["ci_low"] <= found["mean"] < found["ci_high"]


def test_all_metrics_of_a_family_are_compared_each_corrected_by_itself():
    frames = {("base", "gradcam"): faithfulness(0), ("dcls", "gradcam"): faithfulness(1)}
    frames |= {("base", "center_bias"): faithfulness(2), ("dcls", "center_bias"): faithfulness(3)}
    found = compare(frames, PAIR, dataset="voc", ceiling=None, settings=SETTINGS)
    assert set(found["n_tests"]) == {2}
    for metric in ("average_drop", "average_increase"):
        tests = found[found["metric"] == metric].sort_values("p")
        smaller, larger = tests["p"]
        assert tests["p_corrected"].tolist() == pytest.approx([min(1, 2 * smaller), min(1, max(2 * smaller, larger))])


def test_curves_are_averaged_over_images():
    curves = np.array([[0.1, 0.4, 1.0], [0.3, 0.2, 0.8]], np.float32)
    frame = pd.DataFrame({"image": [1, 0], "insertion": list(curves), "deletion": list(curves[:, ::-1])})
    found = mean_curves({("base", "gradcam"): frame}, protocol="rise")
    assert list(found.columns) == list(CURVES)
    assert set(found["protocol"]) == {"rise"}
    insertion, deletion = (found[found["curve"] == curve] for curve in ("insertion", "deletion"))
    assert insertion["share"].tolist() == deletion["share"].tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(insertion["mean"], [0.2, 0.3, 0.9], rtol=1e-6)
    np.testing.assert_allclose(deletion["mean"], [0.9, 0.3, 0.2], rtol=1e-6)
    assert set(found["n"]) == {2}


def test_pairs_with_a_missing_value_do_not_count():
    frames = {("base", "gradcam"): localization(0, [3]), ("dcls", "gradcam"): localization(1, [3, 9])}
    found = compare(frames, PAIR, dataset="voc", ceiling=None, settings=SETTINGS, metrics=("localization_error",))
    assert found["n"].tolist() == [N - 2]
    base, dcls = (frame["localization_error"].drop([3, 9]).astype(bool) for frame in frames.values())
    lost, won = int((base & ~dcls).sum()), int((dcls & ~base).sum())
    assert found["p"][0] == pytest.approx(scipy.stats.binomtest(won, won + lost).pvalue)


def test_missing_values_of_other_metrics_are_refused():
    frame = faithfulness(0)
    frame.loc[4, "average_drop"] = np.nan
    with pytest.raises(CamstudyError, match="`average_drop` is not finite for 1 images"):
        only_boxes({("base", "gradcam"): frame})
    frame = localization(0)
    frame.loc[4, "pixel_f1"] = np.inf
    with pytest.raises(CamstudyError, match="`pixel_f1` is not finite for 1 images"):
        only_boxes({("base", "gradcam"): frame})


def test_no_image_with_boxes_is_reported_as_missing():
    table = only_boxes({("base", "gradcam"): localization(0, range(N))})
    assert (table["n"] == 0).all()
    assert table[["mean", "ci_low", "ci_high"]].isna().all().all()


def test_scores_survive_their_file(tmp_path):
    """As scripts write them, in parts of which only one has images without boxes."""
    parts = [localization(0, [3]).iloc[:20], localization(0).iloc[20:]]
    for number, part in enumerate(parts):
        part.to_parquet(tmp_path / f"{number}.parquet", index=False)
    read = pd.concat(pd.read_parquet(tmp_path / f"{number}.parquet") for number in range(2))
    expected = only_boxes({("base", "gradcam"): pd.concat(parts)})
    pd.testing.assert_frame_equal(only_boxes({("base", "gradcam"): read}), expected)
    assert set(expected["n"]) == {N - 1}
