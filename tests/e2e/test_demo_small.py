"""A whole study in small: its files, its numbers computed again from the stores by other means, its report."""

import base64
import html.parser
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import xarray
from conftest import TINY
from PIL import Image
from scipy import stats
from torch.nn.functional import interpolate

from camstudy.figures import FIGURES
from camstudy.pipeline.plan import duration
from camstudy.tables import TABLES

pytestmark = pytest.mark.quick

N = TINY["catalog"]["datasets"]["tiny"]["n_images"]
BASELINE, VARIANT = TINY["models"]
HEATMAPS = [(model, method) for model in TINY["models"] for method in TINY["methods"]]
CONTROLS = [("control", control) for control in TINY["controls"]]
# The CSV has six decimals; p-values have six significant digits.
DECIMALS = {"abs": 1e-6}


def read_store(project, name):
    return xarray.open_zarr(project.path / "results" / f"{name}.zarr", consolidated=False)


def compared(maps):
    """Resample maps (n, h, w) to 224x224 with torch, one row per image."""
    maps = torch.from_numpy(np.asarray(maps, np.float64))[:, None]
    return interpolate(maps, (224, 224), mode="bilinear", align_corners=False).float().numpy().reshape(len(maps), -1)


def correlations(maps, human):
    """Return SciPy's Spearman correlation of each map with its human map, 0 for constant maps."""
    pairs = zip(compared(maps), compared(human), strict=True)
    return np.array([0 if np.ptp(one) == 0 else stats.spearmanr(one, other)[0] for one, other in pairs])


def with_floor(maps, floor):
    """Threshold-Grad-CAM's last step, map by map."""
    done = [np.maximum((m - m.min()) / np.ptp(m), floor) if np.ptp(m) else np.zeros_like(m) for m in np.asarray(maps)]
    return np.stack(done)


@pytest.fixture(scope="module")
def ceiling(finished):
    half = read_store(finished, "data/tiny").human_half.values
    return correlations(half[:, 0], half[:, 1]).mean()


@pytest.fixture(scope="module")
def rho(finished):
    """Spearman correlations of every model and method, from raw maps."""
    human = read_store(finished, "data/tiny").human_map
    found = {}
    for model, method in HEATMAPS:
        maps = read_store(finished, f"heatmaps/tiny/{model}/{method}").heatmap
        found[model, method] = correlations(with_floor(maps, 0.3) if method == "threshold_gradcam" else maps, human)
    return found


@pytest.fixture(scope="module")
def table(finished):
    return pd.read_csv(finished.path / "results/studies/tiny/tables/dcls.csv")


def test_all_files_are_there(finished):
    results = finished.path / "results/studies/tiny"
    for extension in ("csv", "md", "tex", "html"):
        assert "ResNet" in (results / f"tables/dcls.{extension}").read_text()
    for figure in TINY["figures"]:
        assert (results / f"figures/{figure}.pdf").read_bytes().startswith(b"%PDF")
        with Image.open(results / f"figures/{figure}.png") as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 10, f"{figure} is nearly empty"


@pytest.mark.parametrize(("model", "method"), [*HEATMAPS, *CONTROLS])
def test_heatmap_stores_explain_themselves(finished, model, method):
    store = read_store(finished, f"heatmaps/tiny/{model}/{method}")
    assert store.heatmap.dims == ("image", "y", "x")
    assert store.heatmap.dtype == np.float32
    assert store.target.dims == ("image",)
    assert store.sizes["image"] == N
    assert np.isfinite(store.heatmap).all()
    attrs, is_control = store.attrs, model == "control"
    assert (attrs["dataset"], attrs["model"], attrs["method"]) == ("tiny", model, method)
    assert attrs["layer"] == (None if is_control else "layer4")
    assert attrs["target_policy"] == (None if is_control else "label")
    # With their defaults.
    assert attrs["parameters"] == {"random": {"seed": 0, "size": 7}, "center_bias": {"sigma": 0.25, "size": 64}}.get(
        method, {}
    )
    assert list(attrs["crop_box"]) == [0, 0, 1, 1]
    assert attrs["reference"] == ("human_half" if method == "human_split_half" else "human_map")
    manifest = json.loads((finished.path / f"results/heatmaps/tiny/{model}/{method}.json").read_text())
    assert manifest["store"] == f"{method}.zarr"
    assert manifest["n_images"] == N
    assert manifest["identity"] == attrs["identity"] != ""
    if not is_control:
        assert store.sizes["y"] == store.sizes["x"] == 4, "maps are stored at the resolution of their layer"
        assert set(manifest["versions"]) >= {"torch", "timm", "DCLS"}
        run = json.loads((finished.path / f"results/heatmaps/tiny/{model}/{method}.run.json").read_text())
        assert (run["device"], run["study"]) == ("cpu", "tiny")
        assert run["seconds_per_image"] > 0


def test_maps_explain_the_labels(finished):
    labels = read_store(finished, "data/tiny").label
    for model, method in HEATMAPS:
        assert (read_store(finished, f"heatmaps/tiny/{model}/{method}").target == labels).all()


def test_alignment_is_what_scipy_finds(table, rho, ceiling):
    row = table.set_index("kind").loc["comparison"]
    for role, model in (("baseline", BASELINE), ("dcls", VARIANT)):
        for method in TINY["methods"]:
            expected = rho[model, method].mean() / ceiling
            assert row[f"{method}_{role}_alignment"] == pytest.approx(expected, **DECIMALS)
            low, high = (row[f"{method}_{role}_alignment_ci_{end}"] for end in ("low", "high"))
            assert low < expected < high


def test_degenerate_maps_are_counted(finished, table):
    row = table.set_index("kind").loc["comparison"]
    for role, model in (("baseline", BASELINE), ("dcls", VARIANT)):
        for method in TINY["methods"]:
            maps = read_store(finished, f"heatmaps/tiny/{model}/{method}").heatmap
            assert row[f"{method}_{role}_n_degenerate"] == int((maps.max(("y", "x")) == maps.min(("y", "x"))).sum())


def test_differences_and_their_tests_are_what_scipy_finds(table, rho, ceiling):
    row = table.set_index("kind").loc["comparison"]
    p = []
    for method in TINY["methods"]:
        difference = rho[VARIANT, method] - rho[BASELINE, method]
        assert row[f"{method}_difference"] == pytest.approx(difference.mean() / ceiling, **DECIMALS)
        p.append(stats.wilcoxon(difference, zero_method="pratt").pvalue)
        assert row[f"{method}_p"] == pytest.approx(p[-1], rel=1e-5)
    smaller, larger = sorted(p)
    holm = {smaller: min(1, 2 * smaller), larger: min(1, max(2 * smaller, larger))}
    for method, value in zip(TINY["methods"], p, strict=True):
        assert row[f"{method}_p_corrected"] == pytest.approx(holm[value], rel=1e-5)


def test_controls_are_where_they_belong(finished, table, ceiling):
    rows = table[table["kind"] == "control"].set_index("baseline")
    assert list(rows.index) == TINY["controls"]
    data = read_store(finished, "data/tiny")
    for control in TINY["controls"]:
        maps = read_store(finished, f"heatmaps/tiny/control/{control}").heatmap
        human = data.human_half[:, 1] if control == "human_split_half" else data.human_map
        expected = correlations(maps, human).mean() / ceiling
        for method in TINY["methods"]:
            assert rows.loc[control, f"{method}_baseline_alignment"] == pytest.approx(expected, **DECIMALS)
    found = rows["gradcam_baseline_alignment"]
    assert found["human_split_half"] == 1
    assert found["random"] < found["center_bias"] < 1


def test_accuracy_and_size(finished, table):
    row = table.set_index("kind").loc["comparison"]
    labels = read_store(finished, "data/tiny").label.values
    for role, model in (("baseline", BASELINE), ("dcls", VARIANT)):
        scores = pd.read_parquet(finished.path / f"results/scores/tiny/{model}/prediction.parquet")
        expected = 100 * np.mean(scores["predicted"].to_numpy() == labels)
        assert row[f"{role}_top1_percent"] == pytest.approx(expected, **DECIMALS)
    assert row["dcls_parameters"] > row["baseline_parameters"]


class _Text(html.parser.HTMLParser):
    """The text of a page, piece by piece."""

    def __init__(self, page):
        super().__init__()
        self.pieces = []
        self.feed(page)

    def handle_data(self, data):
        self.pieces.append(data.strip())


def test_formats_say_the_same(finished, table):
    value = f"{table['gradcam_baseline_alignment'][0]:.3f}"
    folder = finished.path / "results/studies/tiny/tables"
    assert value in _Text((folder / "dcls.html").read_text()).pieces
    assert value in (folder / "dcls.md").read_text()
    assert value in (folder / "dcls.tex").read_text()


@pytest.fixture(scope="module")
def report(finished):
    """The folder of the finished study's report: a page of its own, and Snakemake's."""
    command = [sys.executable, "-m", "camstudy.cli", "report", "study.yaml"]
    done = subprocess.run(command, cwd=finished.path, env=finished.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return finished.path / "results/studies/tiny/report"


def embedded(page, name):
    """Return the value that the report's page gives to a variable."""
    value, _ = json.JSONDecoder().raw_decode(page.split(f"    var {name} = ")[-1])
    return value


def test_report_has_captions_and_categories(report):
    page = (report / "workflow/index.html").read_text()
    description = embedded(page, "workflow_desc")
    assert "<strong>tiny</strong>" in description
    assert "No answer: the study names no `primary` metric." in description
    results = embedded(page, "results")
    expected = {f"results/studies/tiny/figures/{name}.png": FIGURES[name].title for name in TINY["figures"]}
    expected["results/studies/tiny/tables/dcls.html"] = "n = 24 images"
    assert results.keys() == expected.keys()
    for name, caption in expected.items():
        assert caption in results[name]["caption"]
    assert results["results/studies/tiny/tables/dcls.html"]["labels"] == {"table": f"dcls: {TABLES['dcls'].title}"}
    assert embedded(page, "categories").keys() == {"Tables", "Figures"}


def test_the_page_shows_what_the_study_is_made_of(finished, report, table):
    page = (report / "index.html").read_text()
    text = " ".join(_Text(page).pieces)
    for shown in (
        *("ResNet-DCLS", "kernel_size: 7", "Selvaraju et al. 2017", "human_maps", "random", "center_bias"),
        *("Holm-corrected for 2 tests", "Images that count", "Degenerate maps", "trained on tiny_train, 3 epochs"),
        f"{table['gradcam_baseline_alignment'][0]:.3f}",
        f"torch {torch.__version__.partition('+')[0]}",
    ):
        assert shown in text
    for figure in TINY["figures"]:
        content = (finished.path / f"results/studies/tiny/figures/{figure}.png").read_bytes()
        assert f"data:image/png;base64,{base64.b64encode(content).decode()}" in page
    runs = [json.loads(path.read_text()) for path in (finished.path / "results").glob("scores/**/*.run.json")]
    assert f"Predictions and scores {len(runs)} {duration(sum(run['seconds'] for run in runs))}" in text
    assert not (report / "summary.html").exists()


@pytest.fixture
def screenshot(tmp_path):
    """A function that renders a page in Chromium and returns the picture in grey."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")

    def take(page):
        picture = tmp_path / "screenshot.png"
        options = "headless no-sandbox hide-scrollbars disable-gpu"
        options += " disable-background-networking disable-component-update disable-sync"
        command = [chromium, *(f"--{option}" for option in options.split()), "--no-first-run", "--window-size=1280,900"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
        command += [f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        with Image.open(picture) as image:
            return np.asarray(image.convert("L"))

    return take


def test_pages_can_be_looked_at(finished, report, screenshot):
    for page in (finished.path / "results/studies/tiny/tables/dcls.html", *report.rglob("index.html")):
        picture = screenshot(page)
        ink = np.mean(picture != picture[-1, -1])
        assert 0.01 < ink < 0.9, f"{page.name}: {ink:.1%} of the page differ from its background"
