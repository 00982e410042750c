"""Models of several seeds: the entries that a study gets, and means and differences over seeds and images."""

import copy

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.counting import Counting
from camstudy.analysis.seeds import SEEDS, summarize_seeds
from camstudy.analysis.statistics import bca_interval, replicated_mean
from camstudy.core.errors import CamstudyError
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate
from camstudy.study.seeds import replicated_pairs, replicates


def study(**changes):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    chosen = {"models": ["resnet_mini", "resnet_mini_dcls"], "comparisons": config["comparisons"][:1]}
    return with_catalogs(config | chosen | changes, ROOT)


def test_every_model_gets_an_entry_per_seed():
    config = validate(study(seeds=[0, 3]), check_files=False)
    names = ["resnet_mini_seed0", "resnet_mini_seed3", "resnet_mini_dcls_seed0", "resnet_mini_dcls_seed3"]
    assert config["models"] == names
    entries = config["catalog"]["models"]
    for name in names:
        base, _, seed = name.rpartition("_seed")
        assert entries[name] == entries[base] | {"seed": int(seed), "title": f"{entries[base]['title']}, seed {seed}"}
    assert config["comparisons"] == [
        {
            "title": f"ResNet, seed {seed}",
            "baseline": f"resnet_mini_seed{seed}",
            "variant": f"resnet_mini_dcls_seed{seed}",
        }
        for seed in (0, 3)
    ]
    assert replicates(config) == {"resnet_mini": names[:2], "resnet_mini_dcls": names[2:]}
    assert replicated_pairs(config) == {("resnet_mini", "resnet_mini_dcls"): "ResNet"}


def test_a_completed_configuration_stays_as_it_is():
    config = validate(study(seeds=[0, 3]), check_files=False)
    assert validate(copy.deepcopy(config), check_files=False) == config


def test_without_seeds_nothing_changes():
    config = validate(study(), check_files=False)
    assert "seeds" not in config
    assert config["models"] == ["resnet_mini", "resnet_mini_dcls"]
    assert replicates(config) == {name: [name] for name in config["models"]}
    assert replicated_pairs(config) == {("resnet_mini", "resnet_mini_dcls"): "ResNet"}
    assert validate(study(seeds=[]), check_files=False)["models"] == config["models"]


def test_a_model_that_starts_from_another_starts_from_that_seeds():
    given = study(seeds=[1, 2], models=["resnet_mini", "later"], comparisons=[])
    given["catalog"]["models"]["later"] = given["catalog"]["models"]["resnet_mini"] | {
        "weights": {"model": "resnet_mini"}
    }
    entries = validate(given, check_files=False)["catalog"]["models"]
    assert entries["later_seed2"]["weights"]["model"] == "resnet_mini_seed2"


def test_what_is_the_same_for_all_seeds_is_refused():
    with pytest.raises(CamstudyError, match=r"`models\[0\]`: `resnet50` is neither trained nor random"):
        validate(study(seeds=[0, 1], models=["resnet50"], comparisons=[]), check_files=False)
    taken = study(seeds=[0])
    taken["catalog"]["models"]["resnet_mini_seed0"] = {"arch": "resnet18"}
    with pytest.raises(CamstudyError, match=r"`catalog.models.resnet_mini_seed0`: this is the name of `resnet_mini`"):
        validate(taken, check_files=False)


def crossed(seeds=4, n=60):
    """Scores with effects of seeds and of images, some of them missing."""
    rng = np.random.default_rng(1)
    values = rng.normal(0, 0.5, (seeds, 1)) + rng.normal(0, 1, (1, n)) + rng.normal(0, 0.3, (seeds, n))
    values[1, :5] = values[2, 7] = np.nan
    return values


def test_intervals_are_those_of_resampled_seeds_and_images():
    values, rng = crossed(), np.random.default_rng(5)
    found = replicated_mean(values, resamples=4000)
    both, alone = np.empty((2, 4000))
    for index in range(4000):
        images = rng.choice(60, 60)
        both[index] = np.nanmean(values[rng.choice(4, 4)][:, images])
        alone[index] = np.nanmean(values[:, images])
    assert found.mean == pytest.approx(np.nanmean(values))
    np.testing.assert_allclose([found.low, found.high], np.quantile(both, [0.025, 0.975]), atol=0.04)
    np.testing.assert_allclose([found.image_low, found.image_high], np.quantile(alone, [0.025, 0.975]), atol=0.03)
    assert found.high - found.low > found.image_high - found.image_low + 0.1
    assert found.seed_sd == pytest.approx(np.nanmean(values, axis=1).std(ddof=1))


def test_of_one_seed_images_alone_count():
    values = np.random.default_rng(0).normal(size=(1, 200))
    found = replicated_mean(values)
    assert (found.low, found.high) == (found.image_low, found.image_high)
    assert np.isnan(found.seed_sd)
    np.testing.assert_allclose((found.low, found.high), bca_interval(values[0]), atol=0.01)


def test_of_seeds_without_images_that_differ_seeds_alone_count():
    found = replicated_mean(np.repeat([[1.0], [3.0]], 30, axis=1))
    assert (found.low, found.high, found.image_low, found.image_high) == (1, 3, 2, 2)
    with pytest.raises(ValueError, match="some are finite"):
        replicated_mean(np.full((2, 3), np.nan))


def frames():
    """Two models of two seeds under a method, and their accuracy."""
    rng, found = np.random.default_rng(2), {}
    for model in ("plain", "other"):
        for seed in (0, 1):
            scores = pd.DataFrame({"image": rng.permutation(20), "label": 0, "drop": rng.random(20)})
            found[f"{model}_seed{seed}", "cam"] = scores.assign(degenerate=scores["image"] == 3)
    return found


OF = {"plain": ["plain_seed0", "plain_seed1"], "other": ["other_seed0", "other_seed1"]}


def test_differences_are_of_the_same_images_and_seeds():
    scores = frames()
    table = summarize_seeds(scores, OF, [("plain", "other")], dataset="d", settings=Settings(), protocol="p")
    assert tuple(table.columns) == SEEDS
    assert table["metric"].eq("drop").all()
    assert table["n"].eq(20).all()
    assert table["n_seeds"].eq(2).all()
    matrices = {
        base: np.stack([scores[name, "cam"].sort_values("image")["drop"] for name in names])
        for base, names in OF.items()
    }
    plain, _, difference = table.itertuples()
    assert (plain.baseline, plain.model, plain.mean) == ("", "plain", pytest.approx(matrices["plain"].mean()))
    assert (difference.baseline, difference.model) == ("plain", "other")
    expected = replicated_mean(matrices["other"] - matrices["plain"])
    assert (difference.mean, difference.ci_low, difference.image_high) == pytest.approx(
        (expected.mean, expected.low, expected.image_high)
    )


def test_degenerate_maps_are_left_out_where_they_are_skipped():
    table = summarize_seeds(frames(), OF, [], dataset="d", settings=Settings(degenerate="skip", resamples=100))
    assert table["n"].eq(19).all()


def test_missing_answers_do_not_count():
    scores = frames()
    for key, frame in scores.items():
        scores[key] = frame.assign(hit=pd.array([True, False, None, *[True] * 17], dtype="boolean"))
    table = summarize_seeds(scores, OF, [], dataset="d", settings=Settings(resamples=100)).set_index(
        ["model", "metric"]
    )
    assert table.loc[("plain", "hit"), "mean"] == pytest.approx(18 / 19)


def test_scores_of_other_images_are_refused():
    scores = frames()
    scores["plain_seed1", "cam"] = scores["plain_seed1", "cam"].assign(image=np.arange(1, 21))
    with pytest.raises(CamstudyError, match="`plain`, cam: not all seeds are scored on the same images"):
        summarize_seeds(scores, OF, [], dataset="d", settings=Settings())


# Which images count, and items that share one. ----------------------------------------------------------------------

# Each seed's network is right about other images; `frames` have 20.
RIGHT = {
    "plain_seed0": range(0, 20, 2),
    "plain_seed1": range(0, 20, 3),
    "other_seed0": range(0, 16),
    "other_seed1": range(3, 20),
}


def test_means_and_differences_are_of_the_images_that_count():
    counting = Counting({model: np.array(images) for model, images in RIGHT.items()})
    scores = frames()
    table = summarize_seeds(scores, OF, [("plain", "other")], dataset="d", settings=Settings(), counting=counting)
    value = {key[0]: frame.set_index("image")["drop"] for key, frame in scores.items()}
    own = [value[model][image] for model in OF["plain"] for image in RIGHT[model]]
    both = [
        (image, value[second][image] - value[first][image])
        for first, second in zip(OF["plain"], OF["other"], strict=True)
        for image in {*RIGHT[first]} & {*RIGHT[second]}
    ]
    plain, _, difference = table.itertuples()
    assert plain.mean == pytest.approx(np.mean(own))
    assert plain.n == len({*RIGHT["plain_seed0"], *RIGHT["plain_seed1"]}) == 13
    assert difference.mean == pytest.approx(np.mean([found for _, found in both]))
    assert difference.n == len({image for image, _ in both})
    means = [np.mean([value[model][image] for image in RIGHT[model]]) for model in OF["plain"]]
    assert plain.seed_sd == pytest.approx(np.std(means, ddof=1))


def test_images_that_count_for_no_seed_are_not_drawn():
    common = np.array([1, 4, 5, 11, 17])
    counting = Counting(dict.fromkeys([model for names in OF.values() for model in names], common))
    alone = {key: frame[frame["image"].isin(common)] for key, frame in frames().items()}
    where = {"dataset": "d", "settings": Settings(resamples=300)}
    found = summarize_seeds(frames(), OF, [("plain", "other")], **where, counting=counting)
    pd.testing.assert_frame_equal(found, summarize_seeds(alone, OF, [("plain", "other")], **where))


def test_items_are_drawn_with_their_image():
    sources = np.repeat([0, 1, 4, 5, 8, 11, 12, 15, 18], [1, 3, 1, 3, 3, 1, 3, 3, 2])
    settings, scores = Settings(resamples=4000, sources=sources), frames()
    row = next(summarize_seeds(scores, OF, [], dataset="d", settings=settings).itertuples())
    values = np.stack([scores[name, "cam"].sort_values("image")["drop"] for name in OF["plain"]])
    rng, images = np.random.default_rng(9), np.unique(sources)
    both, alone = [], []
    for _ in range(4000):
        items = np.concatenate([np.flatnonzero(sources == image) for image in rng.choice(images, len(images))])
        both.append(values[rng.choice(2, 2)][:, items].mean())
        alone.append(values[:, items].mean())
    assert row.mean == pytest.approx(values.mean())
    assert row.n == 20
    np.testing.assert_allclose([row.ci_low, row.ci_high], np.quantile(both, [0.025, 0.975]), atol=0.015)
    np.testing.assert_allclose([row.image_low, row.image_high], np.quantile(alone, [0.025, 0.975]), atol=0.015)
    # Of items that are all the same in an image, it is the interval of the images.
    means = np.random.default_rng(3).random((2, 9))
    twice = replicated_mean(np.repeat(means, 2, axis=1), groups=np.repeat(np.arange(9), 2), resamples=200)
    assert twice.image_low == pytest.approx(replicated_mean(means, resamples=200).image_low)
