"""The examples of docs/reading.md and results/README.md, run as printed on a small finished study."""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from labeled import write_maps, write_table
from PIL import Image
from torch.nn import functional as F

from camstudy.data.dataset import ATTRIBUTES, open_dataset
from camstudy.data.formats.clickme import Record, blur_human_map
from camstudy.data.formats.files import Files
from camstudy.data.formats.photographs import Photograph, write_photographs
from camstudy.data.writing import write_dataset

# Images of the demo, and of the page's trial with ImageNet.
DEMO, TRIAL, SIDE = 384, 8, 56
DIGITS = [str(digit) for digit in range(10)]
ROOT = Path(__file__).parents[2]
MODELS = ("resnet_mini", "convnext_mini")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder `results` as the demo and a study of ImageNet leave it, but for its values."""
    folder, rng, labels = tmp_path_factory.mktemp("project"), np.random.default_rng(0), np.arange(DEMO) % 10
    results, blank = folder / "results", np.zeros((256, 256), np.uint8)

    def records(part):
        for index in range(part.start, part.stop):
            heat = np.full((256, 256), index % 256, np.uint8)
            yield Record(
                *(np.full((256, 256, 3), index % 256, np.uint8), heat, int(labels[index]), np.stack([heat, heat])),
                *("results/raw/digits_clickme/0.tfrecord", index, np.array([[0, 0, 9, 9]]), blank),
            )

    attrs = dict.fromkeys(ATTRIBUTES) | {"class_names": DIGITS}
    manifest = results / "data/digits_clickme.json"
    write_dataset(manifest, records, n=DEMO, attrs=attrs, identity="f", has_halves=True, max_boxes=1)
    dataset, known = open_dataset(manifest), {"labels": labels}
    for model in MODELS:
        maps = write_maps(results, dataset, model, "gradcam", rng.random((DEMO, 7, 7), np.float32))
        predicted, spearman = np.where(rng.random(DEMO) < 0.4, (labels + 1) % 10, labels), rng.random(DEMO)
        about = {"image": np.arange(DEMO), "label": labels}
        frame = pd.DataFrame(about | {"predicted": predicted, "probability": rng.random(DEMO)})
        write_table(results, dataset, f"{model}/prediction", frame)
        write_table(results, dataset, f"{model}/gradcam/human_maps", pd.DataFrame(about | {"spearman": spearman}))
        known[model] = {"maps": maps, "wrong": predicted != labels, "spearman": spearman}
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, TRIAL + 1)]
    (folder / "images").mkdir()
    for number, name in enumerate(names):
        Image.fromarray(np.full((10, 20, 3), 20 * number, np.uint8)).save(folder / "images" / name, "JPEG")
    items = [Photograph(name, number % 2) for number, name in enumerate(names)]
    about = {"attrs": attrs | {"class_names": ["tench, Tinca tinca", "goldfish, Carassius auratus"]}, "identity": "f"}
    write_photographs(results / "data/trial.json", Files(folder / "images"), items, **about)
    return folder, known


def most_apart(known):
    """Return the five images whose maps have least in common, and of how many models the prediction is wrong."""
    shares = []
    for model in MODELS:
        large = F.interpolate(torch.from_numpy(known[model]["maps"])[:, None].double(), SIDE, mode="bilinear")
        shares.append((large / large.sum((2, 3), keepdim=True)).numpy()[:, 0])
    apart = 1 - np.minimum(*shares).sum((1, 2))
    wrong = sum(known[model]["wrong"].astype(int) for model in MODELS)
    order = np.argsort(-apart)[:5]
    return [f"0.tfrecord#{number}" for number in order], apart[order], wrong[order]


def test_five_lines_answer_what_no_table_does(study, monkeypatch, capsys):
    monkeypatch.chdir(study[0])
    (code,) = blocks("results/README.md", "python")
    names: dict = {}
    exec(code, names)
    assert len(code.strip().splitlines()) <= 7
    header, _, *lines = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == ["apart", "wrong", "method", "label"]
    images, apart, wrong = most_apart(study[1])
    assert [line[0] for line in lines] == images
    assert [float(line[1]) for line in lines] == pytest.approx(apart, abs=1e-5)
    assert [int(line[2]) for line in lines] == wrong.tolist()


@pytest.mark.parametrize("name", ["core.lazy", "data.reading", "explain.reading", "analysis.reading"])
def test_the_examples_of_docstrings_run(study, monkeypatch, name):
    monkeypatch.chdir(study[0])
    done = doctest.testmod(importlib.import_module(f"camstudy.{name}"))
    assert done.attempted >= 2
    assert done.failed == 0


@pytest.mark.filterwarnings("error")
def test_the_page_runs_as_printed(study, monkeypatch, capsys):
    monkeypatch.chdir(study[0])
    names, known, printed = {}, study[1], []
    for block in blocks("docs/reading.md", "python"):
        exec(block, names)
        printed += [out] if (out := capsys.readouterr().out) else []
    assert printed == blocks("docs/reading.md", "text")
    images, apart, wrong = most_apart(known)
    assert names["most"].index.tolist() == images
    np.testing.assert_allclose(names["most"]["apart"], apart, atol=1e-6)
    assert names["most"]["wrong"].tolist() == wrong.tolist()
    spearman = np.stack([known[model]["spearman"] for model in MODELS])
    worst = int(spearman.mean(0).argmin())
    assert names["worst"] == f"0.tfrecord#{worst}"
    assert (names["scene"].values == worst % 256).all()
    blurred = blur_human_map([np.full((256, 256), level, np.uint8) for level in range(256)])
    np.testing.assert_allclose(names["where_people_look"], blurred[worst % 256], rtol=1e-4)
    for row, model in enumerate(MODELS):
        for digit in range(10):
            mean = spearman[row, known["labels"] == digit].mean()
            assert names["means"][model, digit] == pytest.approx(mean)
    expected = [np.mean([blurred[n % 256] for n in range(digit, DEMO, 10)], 0) for digit in range(10)]
    np.testing.assert_allclose(names["mean_of_class"], expected, rtol=1e-4)
    assert (names["picture"].shape, abs(int(names["picture"].mean()) - 140) < 3) == ((10, 20, 3), True)
