"""Weights in the workflow: laid over the catalogue as files, fetched, assembled and recorded; refused in words."""

import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, TINY, Project
from layouts import NARROW, checkpoint, official, randomised

from camstudy.core.provenance import sha256_file
from camstudy.data.formats.clickme import encode_example
from camstudy.data.formats.tfrecord import write_shard
from camstudy.models.build import build_model
from camstudy.models.weights.checkpoints import read_metadata, save_model

CATALOG = yaml.safe_load((ROOT / "config/catalog/imagenet_models.yaml").read_text())["catalog"]["models"]
SMALL = {"kwargs": NARROW["convnext_tiny"], "num_classes": 10, "input": {"size": 64, "crop_pct": 1.0}}
NAMES = ("convnext_tiny", "convnext_tiny_dcls")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The catalogue's ConvNeXts in small, their weights in files; the weights' other keys stay the catalogue's."""
    project = Project(tmp_path_factory.mktemp("project"))
    networks = {name: randomised(build_model(CATALOG[name] | SMALL)) for name in NAMES}
    save_model(networks["convnext_tiny"], project.path / "model.safetensors")
    state = official("convnext_tiny", networks["convnext_tiny_dcls"])
    torch.save(checkpoint("convnext_tiny", state, "model"), project.path / "published.pth")
    write_study(project)
    return project


def write_study(project, people=None, **weights):
    files = dict(zip(NAMES, ("model.safetensors", "published.pth"), strict=True))
    models = {name: SMALL | {"weights": {"url": (project.path / file).as_uri()}} for name, file in files.items()}
    models["convnext_tiny_dcls"]["weights"] |= weights
    datasets = TINY["catalog"]["datasets"] | ({"people": people} if people else {})
    catalog = {"datasets": datasets, "models": models}
    comparisons = [{"baseline": NAMES[0], "variant": NAMES[1]}]
    project.write_study({**TINY, "models": list(NAMES), "comparisons": comparisons, "catalog": catalog})


def test_weights_are_fetched_assembled_and_recorded(project):
    done = project.run(*(f"results/models/{name}/model.json" for name in NAMES))
    for name, file in zip(NAMES, ("model.safetensors", "published.pth"), strict=True):
        record = json.loads((project.path / f"results/models/{name}/model.json").read_text())
        digest = sha256_file(project.path / file)
        assert record["start"]["sha256"] == digest
        assert record["start"]["source"] == (project.path / file).as_uri()
        assert record["start"]["include_variant"] is (name == NAMES[1])
        line = f"pin it with `catalog.models.{name}.weights.sha256: {digest}`"
        assert line in done.stderr
        assert line in (project.path / f"results/logs/fetch_weights/{name}.log").read_text()
    assert read_metadata(project.path / f"results/models/{NAMES[1]}/model.safetensors") == {"dcls_version": "v0"}
    assert sorted(path.name for path in (project.path / "results/weights").iterdir()) == sorted(
        f"{name}.{ending}" for name in NAMES for ending in ("json", "run.json", "safetensors")
    )


def test_refused_weights_leave_nothing(project):
    write_study(project, sha256="0" * 64)
    done = project.run("results/models/convnext_tiny_dcls/model.json", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"expected {'0' * 64}; nothing was kept" in output
    assert "Traceback" not in output
    assert not list((project.path / "results/weights").glob("convnext_tiny_dcls*"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(project):
    """A server of the project's folder."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=project.path))
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


def test_a_signature_is_in_no_record_log_or_output(project, server):
    """Two signed addresses, of weights and of a shard; those of the second run are damaged or gone."""
    image = np.zeros((256, 256, 3), np.uint8)
    write_shard(project.path / "val-0.tfrecords", [encode_example(image, image[..., 0], 0)] * 4)
    targets = ("results/models/convnext_tiny_dcls/model.json", "results/data/people.json")
    options = ("--quiet", "host", "--printshellcmds", "--verbose", "--keep-going")

    def study(signature, file="published.pth"):
        query = f"?X-Amz-Expires=60&X-Amz-Signature={signature}"
        shards = {"url": f"{server}/val-{{i}}.tfrecords{query}", "count": 1}
        people = {"source": "clickme", "shards": shards, "human_ceiling": None}
        write_study(project, people, url=f"{server}/{file}{query}", sha256=sha256_file(project.path / "published.pth"))

    study("s3cr3t-1")
    outputs = [project.run(*options, *targets)]
    record = json.loads((project.path / targets[0]).read_text())
    assert record["start"]["source"] == record["entry"]["weights"]["url"] == f"{server}/published.pth?..."
    # Another signature is the same file, which Snakemake decides by what it recorded of the rules' parameters.
    study("s3cr3t-2")
    outputs.append(project.run(*options, *targets))
    assert "Nothing to be done" in outputs[-1].stderr
    outputs.append(project.run("--report", "report.html", *targets))
    assert "convnext_tiny_dcls" in (project.path / "report.html").read_text()
    study("s3cr3t-3", "gone.pth")
    (project.path / "val-0.tfrecords").write_bytes(b"damaged")
    (project.path / "results/raw/people/0.tfrecord").unlink()
    outputs.append(project.run(*options, "--forcerun", "fetch_shard", "--", *targets, check=False))
    text = "".join(done.stdout + done.stderr for done in outputs)
    for message in ("gone.pth?...: HTTP 404", "val-0.tfrecords?... is damaged", "Params have changed"):
        assert message in text
    files = [path for path in project.path.rglob("*") if path.is_file() and path.name != "study.yaml"]
    assert any(".snakemake/metadata" in str(path) for path in files)
    assert any(path.name.endswith(".snakemake.log") for path in files)
    assert [path for path in files if b"s3cr3t" in path.read_bytes()] == []
    assert "s3cr3t" not in text


def test_an_address_writes_nowhere_else_and_may_hold_no_password(project, server):
    before = (project.path / "Snakefile").read_bytes()
    write_study(project, url=f"{server}/..%2F..%2F..%2FSnakefile")
    done = project.run("results/models/convnext_tiny_dcls/model.json", check=False)
    assert done.returncode == 1
    assert f"{server}/..%2F..%2F..%2FSnakefile: the last part of the address means the file" in done.stderr
    assert "Traceback" not in done.stderr
    assert (project.path / "Snakefile").read_bytes() == before
    write_study(project, url=server.replace("://", "://me:s3cr3t@") + "/published.pth")
    done = project.run("results/models/convnext_tiny_dcls/model.json", check=False)
    assert done.returncode == 1
    found = done.stderr + done.stdout
    assert re.search(r"convnext_tiny_dcls\.weights\.url` \(.*, line \d+\): found http://127\.0\.0\.1:", found)
    assert "put them into ~/.netrc" in done.stderr + done.stdout
    assert "s3cr3t" not in done.stderr + done.stdout
