import numpy as np
import pandas as pd
import pytest
import scipy.stats

from camstudy.aggregate import COMPARISONS, SCORES, Settings, compare, summarize, summarize_sweep
from camstudy.errors import CamstudyError

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


def comparison(frames, settings=SETTINGS, pairs=PAIR):
    return compare(frames, pairs, dataset="digits", ceiling=CEILING, settings=settings)


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
    assert (found["n"], found["n_degenerate"], found["n_tests"]) == (N, 3, 2)
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


def test_p_values_are_corrected_over_the_whole_table(frames):
    frames |= {("third", method): frames["dcls", method] for method in ("gradcam", "")}
    pairs = [*PAIR, ("base", "third")]
    table = comparison(frames, pairs=pairs)
    assert set(table["n_tests"]) == {4}
    ordered = table.sort_values("p")
    expected = np.minimum(1, np.maximum.accumulate(ordered["p"] * [4, 3, 2, 1]))
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
