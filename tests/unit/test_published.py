"""Published values: the shipped files, mistakes in files, and the join with measured values."""

import csv

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from camstudy.analysis.published import COLUMNS, JOINED, join_published, read_published
from camstudy.core.errors import CamstudyError

FILES = sorted((ROOT / "config/published").glob("*.csv"))
ROW = {
    **dict.fromkeys(COLUMNS, ""),
    **{"dataset": "imagenet_val", "model": "Net", "metric": "top1", "value": "82.1", "unit": "%"},
    **{"source": "a paper", "verified": "true", "catalog_model": "net"},
}


def written(folder, *rows, columns=COLUMNS):
    path = folder / "values.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="x")
        writer.writeheader()
        writer.writerows(rows)
    return path


def scores(*rows):
    return pd.DataFrame(rows, columns=["dataset", "model", "method", "metric", "mean"])


# ---- the shipped files


def test_there_is_a_file_per_study():
    assert [path.stem for path in FILES] == ["castream", "dcls", "fovex", "interpretable_gradients", "opticam"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_files_are_sound(path):
    table = read_published(path)
    assert len(table) >= 20
    assert table["source"].str.len().min() > 10
    # What was read off slides or had to be inferred does not pass for the paper's own word.
    assert not table.loc[table["source"].str.contains("slides"), "verified"].any()


def test_every_name_of_the_catalogue_exists():
    models, methods = {}, {}
    for path in [*(ROOT / "config/catalog").glob("*.yaml"), *(ROOT / "config/studies").glob("*.yaml")]:
        catalog = yaml.safe_load(path.read_text()).get("catalog", {})
        models |= catalog.get("models", {})
        methods |= catalog.get("methods", {})
    for path in FILES:
        table = read_published(path)
        assert set(table["catalog_model"]) - {""} <= models.keys()
        assert set(table["catalog_method"]) - {""} <= methods.keys()


def test_dcls_accuracies_meet_the_measured_ones():
    """The three pairs of accuracies that the ConvNeXt-dcls README states."""
    stated = {"tiny": (82.1, 82.5), "small": (83.1, 83.7), "base": (83.8, 84.1)}
    names = [f"convnext_{size}{suffix}" for size in stated for suffix in ("", "_dcls")]
    measured = scores(*[("imagenet_val", name, "", "top1", 0.8) for name in (*names, "resnet50", "caformer_s18_dcls")])
    joined = join_published(measured, read_published(ROOT / "config/published/dcls.csv"))
    expected = [value / 100 for pair in stated.values() for value in pair]
    np.testing.assert_allclose(joined["published"][:6], expected, rtol=1e-12)
    np.testing.assert_allclose(joined["difference"][:6], [0.8 - value for value in expected], atol=1e-12)
    assert joined["published"][6:].isna().all()
    assert joined["published_verified"][:6].tolist() == [True] * 6


# ---- reading


def test_cells_become_numbers_and_flags(tmp_path):
    table = read_published(written(tmp_path, ROW | {"value": "7.5e-3", "verified": "false"}))
    assert list(table.columns) == [*COLUMNS, "protocol"]
    assert (table["value"][0], table["verified"][0], table["note"][0]) == (0.0075, False, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "n/a"}, "line 3: `value` is `n/a`, expected a finite number"),
        ({"value": "nan"}, "line 3: `value` is `nan`"),
        ({"value": ""}, "line 3: `value` is empty"),
        ({"source": " "}, "line 3: `source` is empty"),
        ({"unit": "percent"}, "line 3: `unit` is `percent`, expected one of %"),
        ({"verified": "yes"}, "line 3: `verified` is `yes`, expected true or false"),
        ({"catalog_method": "gradcam"}, "line 3: `catalog_method` without `method`"),
        ({"model": "Net"}, "line 3: the same number as in line 2"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path, change, message):
    path = written(tmp_path, ROW, ROW | {"model": "Other"} | change)
    with pytest.raises(CamstudyError) as caught:
        read_published(path)
    assert str(caught.value).startswith(f"{path}: 1 mistake in")
    assert message in str(caught.value)


def test_mistakes_of_the_file(tmp_path):
    with pytest.raises(CamstudyError, match="missing column `note`"):
        read_published(written(tmp_path, ROW, columns=COLUMNS[:-1]))
    with pytest.raises(CamstudyError, match="unknown column `pages`, did you mean `page`"):
        read_published(written(tmp_path, ROW, columns=(*COLUMNS, "pages")))
    with pytest.raises(CamstudyError, match="no such file"):
        read_published(tmp_path / "absent.csv")
    path = written(tmp_path, ROW)
    path.write_text(path.read_text() + "a,b\n")
    with pytest.raises(CamstudyError, match="line 3: expected 14 cells"):
        read_published(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "<!DOCTYPE html>\n<html><title>404</title></html>\n", "line 1 is `<!DOCTYPE html>`, expected"),
        (lambda text: "", "line 1 is ``, expected the names of columns"),
        (lambda text: "\0" * 300, "line 1 is `"),
        (lambda text: text.replace(",", ";"), "line 1 is `dataset;model;"),
        (lambda text: text[: len(text) // 2], "line 14: expected 14 cells"),
        (lambda text: text + text.splitlines(keepends=True)[3], "line 27: the same number as in line 4"),
        (lambda text: text.replace("\n", "\n\n") + "a,b\n", "line 53: expected 14 cells"),
        (lambda text: f"value,{text}", "column `value` twice"),
        (lambda text: text + 'a,"b', "line 27 cannot be read as CSV"),
        (lambda text: text.replace(",82.1,", ",82_1,"), "line 2: `value` is `82_1`"),
        (lambda text: text.encode("utf-16"), "cannot be read as CSV in UTF-8"),
        (None, "cannot be read (Is a directory)"),
    ],
)
def test_what_became_of_a_shipped_file_is_named(tmp_path, damage, message):
    path = tmp_path / "values.csv"
    if damage is None:
        path.mkdir()
    else:
        damaged = damage((ROOT / "config/published/dcls.csv").read_text())
        path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    with pytest.raises(CamstudyError) as caught:
        read_published(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_mark_of_spreadsheets_is_no_part_of_a_name(tmp_path):
    path = written(tmp_path, ROW)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_published(path)["value"].tolist() == [float(ROW["value"])]


# ---- joining


def test_rows_without_published_value_stay_blank(tmp_path):
    measured = scores(
        ("imagenet_val", "net", "", "top1", 0.83),
        ("imagenet_val", "net", "", "top5", 0.95),
        ("imagenet_val", "net", "gradcam", "top1", 0.5),
        ("clickme_val", "net", "", "top1", 0.7),
    )
    measured.index = [7, 5, 3, 1]
    joined = join_published(measured, read_published(written(tmp_path, ROW)))
    pd.testing.assert_frame_equal(joined[list(measured)], measured)
    assert list(joined.columns) == [*measured, *JOINED]
    assert joined["published"].notna().tolist() == [True, False, False, False]
    assert joined.loc[7, "difference"] == pytest.approx(0.009)
    assert joined.loc[7, "published_source"] == "a paper"
    assert joined.loc[5, ["published_source", "published_verified"]].isna().all()


def test_methods_must_have_a_name_in_the_catalogue(tmp_path):
    row = ROW | {"method": "Grad-CAM", "metric": "spearman", "value": "0.3", "unit": "1"}
    measured = scores(("imagenet_val", "net", "gradcam", "spearman", 0.4), ("imagenet_val", "net", "", "spearman", 1))
    assert join_published(measured, read_published(written(tmp_path, row)))["published"].isna().all()
    named = read_published(written(tmp_path, row | {"catalog_method": "gradcam"}))
    assert join_published(measured, named)["published"][0] == 0.3
    other = read_published(written(tmp_path, row | {"catalog_method": "gradcam", "catalog_model": ""}))
    assert join_published(measured, other)["published"].isna().all()


def test_units(tmp_path):
    rows = [
        ROW | {"metric": "average_drop", "value": "12.2"},
        ROW | {"metric": "parameters", "value": "28.6", "unit": "M"},
        ROW | {"metric": "insertion_auc", "value": "0.66", "unit": "1"},
    ]
    measured = scores(*[("imagenet_val", "net", "", row["metric"], 0) for row in rows])
    published = read_published(written(tmp_path, *rows))
    assert join_published(measured, published)["published"].tolist() == pytest.approx([0.122, 28.6e6, 0.66])
    percent = join_published(measured, published, {"average_drop": 100, "insertion_auc": 100})
    assert percent["published"].tolist() == pytest.approx([12.2, 28.6e6, 0.66])


def test_of_several_values_the_first_counts(tmp_path):
    rows = [ROW | {"table": "paper"}, ROW | {"table": "log", "value": "82.094"}]
    joined = join_published(scores(("imagenet_val", "net", "", "top1", 0)), read_published(written(tmp_path, *rows)))
    assert joined["published"].tolist() == [0.821]


def test_empty_tables(tmp_path):
    published = read_published(written(tmp_path))
    assert join_published(scores(("d", "m", "", "top1", 0.5)), published)["published"].isna().all()
    assert len(join_published(scores(), published)) == 0
