"""Published checkpoints in their authors' layouts, timm's files and our own: loaded whole, or refused in words."""

import argparse
import dataclasses
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import safetensors.torch
import torch
import yaml
from conftest import ROOT
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from layouts import NARROW, checkpoint, official, randomised
from timm.models import get_pretrained_cfg

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import sha256_file
from camstudy.models import build
from camstudy.models.build import build_model, parameter_count
from camstudy.models.load import initial_model, load_model
from camstudy.models.variants.dcls import dcls_layers
from camstudy.models.weights import fetch
from camstudy.models.weights.checkpoints import save_model
from camstudy.models.weights.fetch import fetch_weights

torch.set_num_threads(1)

CATALOG = yaml.safe_load((ROOT / "config/catalog/imagenet_models.yaml").read_text())["catalog"]["models"]
CLASSES = 5


def entry(name, **weights):
    """Return an entry of the catalogue made narrow, with its weights elsewhere."""
    entry = CATALOG[name] | {"kwargs": NARROW[name.removesuffix("_dcls")], "num_classes": CLASSES}
    if "former" in name:
        entry["arch"] = "timm.models.metaformer.MetaFormer"
    return entry | {"weights": entry["weights"] | weights}


def url(path):
    return path.absolute().as_uri()


@pytest.fixture(scope="module")
def networks():
    """The networks that the files are made from, by name, with their logits."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    made = {}
    for name in NARROW:
        for suffix in ("", "_dcls"):
            model = randomised(build_model(entry(name + suffix)))
            with torch.no_grad():
                made[name + suffix] = model, model(images)
    return images, made


def write(path, name, state):
    key = CATALOG[f"{name}_dcls"]["weights"]["key"]
    torch.save(checkpoint(name, state, key), path)
    return path


@pytest.fixture
def published(tmp_path, networks):
    """Return a function that writes the checkpoint of a DCLS model, changed or not, and gives its path."""

    def make(name, change=lambda state: None):
        state = official(name, networks[1][f"{name}_dcls"][0])
        change(state)
        return write(tmp_path / f"{name}.pth.tar", name, state)

    return make


def logits(model, images):
    with torch.no_grad():
        return model.eval()(images)


def refused(path, tmp_path, name="convnext_tiny_dcls", **weights):
    """Return the message with which an entry's weights are refused; nothing of the download is left."""
    folder = tmp_path / "download"
    with pytest.raises(CamstudyError) as caught:
        fetch_weights(entry(name, url=url(path), **weights), folder)
    assert not folder.exists()
    return str(caught.value)


# ---- the authors' layouts

KEYS = {
    "resnet50": ["layer2.1.conv2.weight", "layer2.1.conv2.P"],
    "convnext_tiny": ["downsample_layers.0.0.weight", "stages.2.1.dwconv.P", "stages.2.1.dwconv.bias", "norm.bias"],
    "convformer_s18": ["downsample_layers.1.pre_norm.weight", "stages.1.1.token_mixer.dwconv.P", "head.fc2.bias"],
    "caformer_s18": ["downsample_layers.0.post_norm.weight", "stages.2.0.token_mixer.qkv.weight", "head.norm.bias"],
    "fastvit_sa24": ["network.4.1.convffn.conv.conv.P", "network.6.pe.weight", "network.6.pe.P", "network.6.pe.bias"],
}


@pytest.mark.parametrize("name", NARROW)
def test_names_and_shapes_are_the_authors(networks, name):
    """What the reference says of the files, and that linear layers of MetaFormer are matrices."""
    state = official(name, networks[1][f"{name}_dcls"][0])
    assert state.keys() >= {*KEYS[name]}
    positions = [tensor for key, tensor in state.items() if key.endswith(".P")]
    model = networks[1][f"{name}_dcls"][0]
    assert len(positions) == len(list(dcls_layers(model))) > len({tensor.data_ptr() for tensor in positions})
    for key, tensor in state.items():
        if "former" in name and "pwconv" in key:
            assert tensor.ndim == 2
        if name == "convnext_tiny" and key.startswith("stages.2") and key.endswith("dwconv.weight"):
            assert tensor.shape == (16, 1, 34)
        if name == "convnext_tiny" and key.startswith("stages.2") and key.endswith("dwconv.P"):
            assert tensor.shape == (2, 16, 1, 34)


@pytest.mark.parametrize("copies", ["shared", "separate"])
@pytest.mark.parametrize("name", NARROW)
def test_a_published_checkpoint_becomes_its_network(tmp_path, networks, name, copies):
    images, made = networks
    source, expected = made[f"{name}_dcls"]
    state = official(name, source)
    if copies == "separate":
        state = {key: tensor.clone() for key, tensor in state.items()}
    path = write(tmp_path / "published.pth.tar", name, state)
    wanted = entry(f"{name}_dcls", url=url(path))

    fetched, record = fetch_weights(wanted, tmp_path / "download")
    assert torch.equal(logits(fetched, images), expected)
    assert parameter_count(fetched) == parameter_count(source)
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (record["source"], record["pinned"], record["include_variant"]) == (url(path), False, True)
    assert "weights.sha256" in record["advice"]
    assert not (tmp_path / "download").exists()

    save_model(fetched, tmp_path / "weights.safetensors")
    assembled = initial_model(wanted, tmp_path / "weights.safetensors", seed=0)
    assert torch.equal(logits(assembled, images), expected)
    save_model(assembled, tmp_path / "model.safetensors")
    folded = load_model(wanted, tmp_path / "model.safetensors")
    assert not list(dcls_layers(folded))
    scale = float(expected.abs().max())
    torch.testing.assert_close(logits(folded, images), expected, atol=1e-5 * scale, rtol=0)


def test_networks_compared_are_alive(networks):
    """Logits that did not depend on image or weights would make the comparisons above empty."""
    for _, expected in networks[1].values():
        assert torch.isfinite(expected).all()
        assert (expected[0] - expected[1]).abs().max() > 1e-3 * expected.abs().max()


@pytest.mark.parametrize("name", NARROW)
def test_prefix_of_data_parallel(tmp_path, networks, name):
    images, made = networks
    source, expected = made[f"{name}_dcls"]
    state = {f"module.{key}": tensor for key, tensor in official(name, source).items()}
    wanted = entry(f"{name}_dcls", url=url(write(tmp_path / "p.pth.tar", name, state)))
    assert torch.equal(logits(fetch_weights(wanted, tmp_path / "d")[0], images), expected)


@pytest.mark.parametrize("name", NARROW)
def test_a_baseline_is_converted_after_loading(tmp_path, networks, name):
    """As in the demo and in fine-tuning: weights of the plain architecture, in its authors' names too."""
    images, made = networks
    source, expected = made[name]
    torch.save({"model": official(name, source)}, tmp_path / "base.pth")
    count = 9 if name == "resnet50" else 49
    variant = {"dcls": CATALOG[f"{name}_dcls"]["variant"]["dcls"] | {"kernel_count": count, "init": "preserve"}}
    weights = {"url": url(tmp_path / "base.pth"), "include_variant": False, "key": None}
    wanted = entry(name) | {"variant": variant, "weights": weights}
    fetched, record = fetch_weights(wanted, tmp_path / "d")
    assert not list(dcls_layers(fetched))
    assert record["include_variant"] is False
    assert torch.equal(logits(fetched, images), expected)
    save_model(fetched, tmp_path / "w.safetensors")
    converted = initial_model(wanted, tmp_path / "w.safetensors", seed=0)
    assert list(dcls_layers(converted))
    scale = float(expected.abs().max())
    torch.testing.assert_close(logits(converted, images), expected, atol=1e-3 * scale, rtol=0)


# ---- what is refused


@pytest.mark.parametrize("name", NARROW)
def test_positions_that_differ_are_named(tmp_path, published, name):
    keys = {
        "resnet50": "layer2.1.conv2.P",
        "convnext_tiny": "stages.2.1.dwconv.P",
        "convformer_s18": "stages.1.1.token_mixer.dwconv.P",
        "caformer_s18": "stages.1.1.token_mixer.dwconv.P",
        "fastvit_sa24": "network.4.1.convffn.conv.conv.P",
    }

    def change(state):
        state[keys[name]] = state[keys[name]] + 0.1

    message = refused(published(name, change), tmp_path, f"{name}_dcls")
    assert re.search(r"`\S+\.P` and `\S+\.P` differ, but the model has one tensor for both", message)


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("which", ["P", "weight"])
def test_renamed_keys_are_named(tmp_path, published, name, which):
    def change(state):
        key = next(key for key in reversed(state) if key.endswith(which) and state[key].ndim > 1)
        state[f"{key}s"] = state.pop(key)
        change.key = f"{key}s"

    message = refused(published(name, change), tmp_path, f"{name}_dcls")
    assert "the weights do not fit the model" in message
    assert "1 unexpected: " in message
    assert message.count("missing") <= 1
    assert change.key.rpartition(".")[2] in message


@pytest.mark.parametrize("name", NARROW)
def test_a_tensor_without_a_place_is_refused(tmp_path, published, name):
    def change(state):
        state["extra.weight"] = torch.ones(3, 3)

    message = refused(published(name, change), tmp_path, f"{name}_dcls")
    assert "1 unexpected: extra" in message


def test_tensors_that_a_filter_would_drop_are_refused(tmp_path, published):
    """timm's filter passes over heads of distillation without a word."""

    def change(state):
        state["projectors.0.weight"] = torch.ones(3, 3)

    message = refused(published("convnext_tiny", change), tmp_path)
    assert "`projectors.0.weight` has no place in the model" in message


def test_two_names_for_one_place_are_refused(tmp_path, published):
    def change(state):
        state["stages.0.blocks.0.conv_dw.bias"] = state["stages.0.0.dwconv.bias"] + 1

    # The filter makes one name of both, and the last would win.
    message = refused(published("convnext_tiny", change), tmp_path)
    assert "stages.0.0.dwconv.bias" in message or "stages.0.blocks.0" in message


def test_reshaping_that_mixes_axes_is_refused(tmp_path, published):
    """timm's filter gives any tensor of the right size the model's shape."""

    def change(state):
        state["stages.0.0.mlp.fc1.weight"] = state["stages.0.0.mlp.fc1.weight"].T.contiguous()

    message = refused(published("convformer_s18", change), tmp_path, "convformer_s18_dcls")
    assert "`stages.0.0.mlp.fc1.weight` is (8, 32), the model has (32, 8, 1, 1)" in message


@pytest.mark.parametrize("name", NARROW)
def test_another_number_of_classes(tmp_path, published, name):
    wanted = entry(f"{name}_dcls", url=url(published(name))) | {"num_classes": 7}
    with pytest.raises(CamstudyError, match=r"of another shape") as caught:
        fetch_weights(wanted, tmp_path / "download")
    assert f"`num_classes: {CLASSES}`" in str(caught.value)


def test_another_number_of_taps(tmp_path, published):
    wanted = entry("convnext_tiny_dcls", url=url(published("convnext_tiny")))
    wanted["variant"] = {"dcls": wanted["variant"]["dcls"] | {"kernel_count": 40}}
    with pytest.raises(CamstudyError, match=r"conv_dw.weight` is \(8, 1, 34\), the model has \(8, 1, 40\)"):
        fetch_weights(wanted, tmp_path / "download")


def test_a_kernel_too_small_for_the_positions(tmp_path, published):
    def change(state):
        for key in [key for key in state if key.endswith(".P")]:
            state[key] = state[key].clone()
            state[key][0] = 8.03  # a moving average taken before clamping: no harm in a kernel of 17

    path = published("convnext_tiny", change)
    fetch_weights(entry("convnext_tiny_dcls", url=url(path)), tmp_path / "d")
    wanted = entry("convnext_tiny_dcls", url=url(path))
    wanted["variant"] = {"dcls": wanted["variant"]["dcls"] | {"kernel_size": 15}}
    with pytest.raises(CamstudyError, match=r"\.P` reaches 8.03 pixels .* of size 15 ends at 7"):
        fetch_weights(wanted, tmp_path / "d")


def test_widths_of_a_gaussian_model_are_unexpected_in_another(tmp_path):
    gauss = entry("convnext_tiny_dcls")
    gauss["variant"] = {"dcls": gauss["variant"]["dcls"] | {"version": "gauss"}}
    state = official("convnext_tiny", randomised(build_model(gauss)))
    path = write(tmp_path / "g.pth", "convnext_tiny", state)
    message = refused(path, tmp_path)
    assert "5 unexpected: stages.0.blocks.0.conv_dw.SIG" in message
    fetch_weights(gauss | {"weights": gauss["weights"] | {"url": url(path)}}, tmp_path / "d")


def test_weights_with_and_without_variant_are_told_apart(tmp_path, networks, published):
    message = refused(published("resnet50"), tmp_path, "resnet50_dcls", include_variant=False)
    assert "The file has positions of DCLS layers: set `weights.include_variant: true`" in message
    base = write(tmp_path / "base.pth.tar", "resnet50", official("resnet50", networks[1]["resnet50"][0]))
    message = refused(base, tmp_path, "resnet50_dcls")
    assert "The file has no positions of DCLS layers: remove `weights.include_variant`" in message


@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "fastvit_sa24"])
def test_our_own_v0_file_is_not_loaded_as_v1(tmp_path, networks, name):
    """A published file does not say its version; what we save does."""
    wanted = entry(f"{name}_dcls", url=url(tmp_path / "own.safetensors"), key=None)
    save_model(networks[1][f"{name}_dcls"][0], tmp_path / "own.safetensors")
    fetch_weights(wanted, tmp_path / "d")
    version = wanted["variant"]["dcls"]["version"]
    other = {"v0": "v1", "v1": "v0"}[version]
    wanted["variant"] = {"dcls": wanted["variant"]["dcls"] | {"version": other}}
    with pytest.raises(CamstudyError, match=f"made with DCLS version `{version}`, but the model has {other}"):
        fetch_weights(wanted, tmp_path / "d")
    with pytest.raises(CamstudyError, match=f"made with DCLS version `{version}`"):
        initial_model(wanted, tmp_path / "own.safetensors", seed=0)
    with pytest.raises(CamstudyError, match="no DCLS layer; take weights of the plain architecture"):
        initial_model(wanted | {"weights": {"path": "x"}}, tmp_path / "own.safetensors", seed=0)


class Foreign:
    def __reduce__(self):
        return exec, ("open('executed', 'w')",)


def test_foreign_objects_in_a_pickle_are_not_run(tmp_path, networks, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "p.pth.tar"
    state = official("resnet50", networks[1]["resnet50_dcls"][0])
    torch.save({"state_dict_ema": state, "args": argparse.Namespace(callback=Foreign())}, path)
    message = refused(path, tmp_path, "resnet50_dcls")
    assert "holds a Python object" in message
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_truncated_and_corrupt_files(tmp_path, published, cut):
    path = published("convnext_tiny")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert "cannot be read" in refused(path, tmp_path)
    path.write_bytes(b"<html>" + whole[6:])
    assert "cannot be read" in refused(path, tmp_path)


def test_a_wrong_checksum_and_a_right_one(tmp_path, published):
    path = published("resnet50")
    digest = sha256_file(path)
    assert "expected " + "0" * 64 in refused(path, tmp_path, "resnet50_dcls", sha256="0" * 64)
    _, record = fetch_weights(entry("resnet50_dcls", url=url(path), sha256=digest), tmp_path / "d")
    assert record["pinned"]
    assert "advice" not in record
    local = entry("resnet50_dcls") | {"weights": {"path": str(path), "sha256": "0" * 64, "include_variant": True}}
    with pytest.raises(CamstudyError, match=f"its sha256 is {digest}, expected 0"):
        fetch_weights(local, tmp_path / "d")


def test_a_key_that_is_not_there(tmp_path, published):
    assert "unknown key of" in refused(published("resnet50"), tmp_path, "resnet50_dcls", key="state_dict_emma")


def test_a_file_that_is_not_there(tmp_path):
    assert "no such file on this machine" in refused(tmp_path / "absent.pth", tmp_path)


@pytest.fixture
def server(tmp_path):
    """A server of the files in a folder, under any address that ends with one of their names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write((tmp_path / "served").read_bytes())

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


@pytest.mark.parametrize("name", ["..%2F..%2FSnakefile", "x%2F..%2F..%2FSnakefile", "{absolute}", "..", "%00"])
def test_an_address_writes_nowhere_but_in_its_folder(tmp_path, published, server, name):
    """The server has a checkpoint that fits: only the name is wrong."""
    published("resnet50").rename(tmp_path / "served")
    project = tmp_path / "project"
    project.mkdir()
    (project / "Snakefile").write_text("mine")
    name = name.format(absolute=quote(str(tmp_path / "absolute"), safe=""))
    wanted = entry("resnet50_dcls", url=f"{server}/nets/{name}?token=s3cr3t")
    with pytest.raises(CamstudyError) as caught:
        fetch_weights(wanted, project / "weights/m.download")
    assert str(caught.value).startswith(f"{server}/nets/{name}?...: the last part of the address means the file")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["Snakefile", "project", "served"]
    assert (project / "Snakefile").read_text() == "mine"


def test_a_signed_address_is_fetched_and_recorded_without_its_signature(tmp_path, networks, server, capfd):
    name = "resnet50_dcls"
    write(tmp_path / "served", "resnet50", official("resnet50", networks[1][name][0]))
    signed = f"{server}/a.pth.tar?X-Amz-Signature=s3cr3t"
    _, record = fetch_weights(entry(name, url=signed), tmp_path / "d")
    assert record["source"] == f"{server}/a.pth.tar?..."
    # An address without a path means a file, too.
    fetch_weights(entry(name, url=f"{server}/?id=7"), tmp_path / "d")
    with pytest.raises(CamstudyError) as caught:
        fetch_weights(entry("convnext_tiny_dcls", url=signed), tmp_path / "d")
    assert f"weights from {server}/a.pth.tar?...: " in str(caught.value)
    assert "s3cr3t" not in "".join([str(caught.value), str(record), *capfd.readouterr()])


# ---- timm's own weights


@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "fastvit_sa24"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_copy_of_timms_file(tmp_path, networks, name, suffix):
    images, made = networks
    source, expected = made[name]
    path = tmp_path / f"model{suffix}"
    save_model(source, path) if suffix == ".safetensors" else torch.save(source.state_dict(), path)
    fetched, record = fetch_weights(entry(name, url=url(path)), tmp_path / "d")
    assert torch.equal(logits(fetched, images), expected)
    assert record["sha256"] == sha256_file(path)
    assert "expected " + "0" * 64 in refused(path, tmp_path, name, sha256="0" * 64)


def test_timms_weights_from_the_hub(tmp_path, networks, monkeypatch):
    images, made = networks
    source, expected = made["convnext_tiny"]
    save_model(source, tmp_path / "model.safetensors")
    asked = []

    def hub(repository, name, revision=None):
        asked.append((repository, name, revision))
        return str(tmp_path / name)

    monkeypatch.setattr(build, "hf_hub_download", hub)
    fetched, record = fetch_weights(entry("convnext_tiny"), tmp_path / "d")
    assert asked == [("timm/convnext_tiny.fb_in1k", "model.safetensors", None)]
    assert torch.equal(logits(fetched, images), expected)
    assert record["sha256"] == sha256_file(tmp_path / "model.safetensors")
    assert record["source"] == "timm, convnext_tiny.fb_in1k"


def test_timms_weights_for_other_classes_leave_the_classifier_as_it_was(tmp_path):
    model = randomised(build_model(entry("convnext_tiny") | {"num_classes": 1000}))
    save_model(model, tmp_path / "model.safetensors")
    wanted = entry("convnext_tiny", url=url(tmp_path / "model.safetensors")) | {"train": {"epochs": 1}}
    fetched, record = fetch_weights(wanted, tmp_path / "d")
    assert record["random_head"]
    found, published, initial = fetched.state_dict(), model.state_dict(), build_model(wanted).state_dict()
    for name, tensor in found.items():
        expected = initial if name.startswith("head.fc.") else published
        assert torch.equal(tensor, expected[name]), name
    assert found["head.fc.weight"].shape == (CLASSES, 24)


def test_timms_weights_with_a_class_for_the_background(tmp_path, monkeypatch):
    """As some networks that came from TensorFlow; timm drops that class."""
    model = randomised(build_model(entry("convnext_tiny") | {"num_classes": 1000}))
    state = dict(model.state_dict())
    for name in ("head.fc.weight", "head.fc.bias"):
        state[name] = torch.cat([torch.full_like(state[name][:1], 99), state[name]])
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    cfg = dataclasses.replace(get_pretrained_cfg("convnext_tiny.fb_in1k"), label_offset=1)
    monkeypatch.setattr(fetch, "timm_config", lambda _: cfg)
    wanted = entry("convnext_tiny", url=url(tmp_path / "model.safetensors")) | {"num_classes": 1000}
    fetched, _ = fetch_weights(wanted, tmp_path / "d")
    assert torch.equal(fetched.head.fc.bias, model.head.fc.bias)


def test_timms_file_of_another_model(tmp_path, networks):
    save_model(networks[1]["resnet50"][0], tmp_path / "model.safetensors")
    assert "the weights do not fit the model" in refused(tmp_path / "model.safetensors", tmp_path, "convnext_tiny")


def test_timms_weights_that_cannot_be_had_are_named(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise LocalEntryNotFoundError("no route to host\nand more")

    def forbidden(*_, **__):
        raise LocalEntryNotFoundError("403 for url: https://cdn.org/a?X-Amz-Signature=s3cr3t")

    monkeypatch.setattr(build, "hf_hub_download", offline)
    with pytest.raises(
        CamstudyError, match=r"`convnext_tiny.fb_in1k` could not be fetched \(no route to host\); .*url"
    ):
        fetch_weights(entry("convnext_tiny"), tmp_path)
    monkeypatch.setattr(build, "hf_hub_download", forbidden)
    with pytest.raises(CamstudyError, match=r"\(403 for url: https://cdn\.org/a\?\.\.\.\); .*url"):
        fetch_weights(entry("convnext_tiny"), tmp_path)
    timm_weights = {"weights": {"timm": True}}
    with pytest.raises(CamstudyError, match=r"`timm.models.resnet.ResNet` is an import path"):
        fetch_weights({"arch": "timm.models.resnet.ResNet"} | timm_weights, tmp_path)
    with pytest.raises(CamstudyError, match=r"the hub has no weights for `test_vit_relpos`; give .*path"):
        fetch_weights({"arch": "test_vit_relpos"} | timm_weights, tmp_path)
    with pytest.raises(CamstudyError, match=r"give `weights: \{timm: true, url: https://\S+pth\}`"):
        fetch_weights({"arch": "legacy_senet154.in1k"} | timm_weights, tmp_path)


def test_older_weights_of_timm_are_in_a_torch_file(tmp_path, monkeypatch):
    asked = []

    def hub(_, name, revision=None):
        asked.append(name)
        if name == "model.safetensors":
            raise RemoteEntryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))
        return tmp_path / name

    monkeypatch.setattr(build, "hf_hub_download", hub)
    assert build.timm_weights_file("convnext_tiny.fb_in1k") == tmp_path / "pytorch_model.bin"
    assert asked == ["model.safetensors", "pytorch_model.bin"]
