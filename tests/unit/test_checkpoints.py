"""Weights on disk: layouts of shared positions, unsafe and damaged files, strict loading, atomic writing."""

import argparse
import hashlib
import pathlib
import pickle
import re
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.models.variants.dcls import convert, dcls_layers
from camstudy.models.weights.checkpoints import load_into, load_state, load_weights, read_metadata, save_model
from camstudy.models.weights.content import STATE_KEYS
from camstudy.models.weights.names import unwrapped

torch.set_num_threads(1)


def small(seed=0, version="v1", classes=4) -> nn.Module:
    """Return a ConvNeXt whose third stage has two DCLS layers with one position tensor."""
    torch.manual_seed(seed)
    model = ConvNeXt(num_classes=classes, depths=(1, 1, 2, 1), dims=(4, 6, 8, 10))
    options = {"replace": "depthwise", "kernel_size": 9, "kernel_count": 5, "init": "random"}
    return convert(model, version=version, seed=seed, **options)


SHARED = ("stages.2.blocks.0.conv_dw.P", "stages.2.blocks.1.conv_dw.P")


def assert_same(model, other):
    mine, theirs = model.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def assert_shared(model):
    first, second = (model.get_parameter(name) for name in SHARED)
    assert first is second


# ---- writing


@pytest.mark.parametrize("version", ["v1", "gauss"])
def test_saved_model_loads_with_positions_still_shared(tmp_path, version):
    source, target = small(1, version), small(2, version)
    save_model(source, tmp_path / "a" / "model.safetensors", {"seed": "1"})
    load_weights(target, tmp_path / "a" / "model.safetensors")
    assert_same(source, target)
    assert_shared(target)
    assert read_metadata(tmp_path / "a" / "model.safetensors") == {"seed": "1", "dcls_version": version}


def test_others_may_read_the_file_as_any_other(tmp_path):
    save_model(small(), tmp_path / "m.safetensors")
    (tmp_path / "plain").touch()
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_shared_tensors_are_stored_once(tmp_path):
    save_model(small(), tmp_path / "m.safetensors")
    names = safetensors.torch.load_file(tmp_path / "m.safetensors").keys()
    assert names == small().state_dict().keys() - {SHARED[1]}


def test_buffers_and_other_layouts_survive(tmp_path):
    def build():
        return ResNet(BasicBlock, (1, 1, 1, 1), num_classes=2, channels=(4, 4, 4, 4)).to(
            memory_format=torch.channels_last
        )

    source, target = build().train(), build()
    with torch.no_grad():
        source(torch.randn(2, 3, 64, 64))
    save_model(source, tmp_path / "m.safetensors")
    load_weights(target, tmp_path / "m.safetensors")
    assert_same(source, target)
    assert target.bn1.num_batches_tracked == 1
    assert read_metadata(tmp_path / "m.safetensors") == {}


def test_failed_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    save_model(small(1), path)
    before = path.read_bytes()

    def crash(self, content):
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "write_bytes", crash)
    with pytest.raises(OSError, match="disk full"):
        save_model(small(2), path)
    assert path.read_bytes() == before


# ---- strict loading


def test_positions_repeated_in_the_file_must_be_equal():
    """As in the released ConvNeXt files, which repeat P under every block."""
    source, target = small(1), small(2)
    state = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    assert {*SHARED} <= state.keys()
    load_into(target, state, where="file")
    assert_same(source, target)
    assert_shared(target)
    state[SHARED[1]][0, 0, 0, 0] += 1
    with pytest.raises(CamstudyError, match=rf"file: `{SHARED[0]}` and `{SHARED[1]}` differ"):
        load_into(target, state, where="file")


@pytest.mark.parametrize("kept", SHARED)
def test_shared_tensor_may_come_under_any_of_its_names(kept):
    source, target = small(1), small(2)
    state = dict(source.state_dict())
    state.pop(next(name for name in SHARED if name != kept))
    load_into(target, state, where="file")
    assert_same(source, target)


def test_mismatches_are_listed_and_nothing_is_loaded():
    target = small(2)
    state = dict(small(1, classes=9).state_dict())
    removed = [name for name in state if name.startswith("stages.0.blocks.0.mlp")] + [*SHARED]
    for name in removed:
        state.pop(name)
    state["extra.weight"] = torch.zeros(2)
    with pytest.raises(CamstudyError) as caught:
        load_into(target, state, where="my file")
    message = str(caught.value)
    assert message.startswith("my file: the weights do not fit the model")
    assert f"{len(removed)} missing: {'; '.join(removed)}\n" in message
    assert "1 unexpected: extra.weight" in message
    assert "2 of another shape: `head.fc.weight` is (9, 10), the model has (4, 10)" in message
    assert "`num_classes: 9`" in message
    assert_same(target, small(2))


def test_other_kernel_count_is_a_shape_mismatch():
    state = small(1).state_dict()
    model = ConvNeXt(num_classes=4, depths=(1, 1, 2, 1), dims=(4, 6, 8, 10))
    options = {"replace": "depthwise", "kernel_size": 9, "version": "v1", "init": "random"}
    with pytest.raises(CamstudyError, match=r"conv_dw.weight` is \(4, 1, 5\), the model has \(4, 1, 6\)"):
        load_into(convert(model, kernel_count=6, **options), state, where="file")


def test_published_names_of_a_family_are_translated():
    """The names of the official ConvNeXt code, written out by hand."""
    source, target = small(1), small(2)

    def official(name):
        name = re.sub(r"stages\.(\d)\.blocks\.(\d)", r"stages.\1.\2", name)
        name = re.sub(r"stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2", name)
        name = name.replace("stem.", "downsample_layers.0.").replace("conv_dw", "dwconv")
        name = name.replace("mlp.fc", "pwconv").replace("head.norm", "norm").replace("head.fc", "head")
        return name

    state = {official(name): tensor for name, tensor in source.state_dict().items()}
    assert "stages.2.1.dwconv.P" in state
    load_into(target, state, where="file")
    assert_same(source, target)
    assert_shared(target)


def test_version_recorded_in_the_file_must_be_the_models(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(small(1, "v0"), path)
    with pytest.raises(CamstudyError, match=r"version `v0`, but the model has v1; set `variant.dcls.version: v0`"):
        load_weights(small(2, "v1"), path)
    load_weights(small(2, "v0"), path)


# ---- reading

TENSORS = OrderedDict(a=torch.arange(3.0), b=torch.ones(2, 2))


def assert_tensors(state):
    assert list(state) == ["a", "b"]
    assert all(torch.equal(state[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("content", [TENSORS, *({key: TENSORS} for key in STATE_KEYS)])
def test_torch_files_with_the_usual_keys(tmp_path, content):
    torch.save(content, tmp_path / "m.pth")
    assert_tensors(load_state(tmp_path / "m.pth"))


def test_key_chooses_and_the_average_comes_before_the_raw_weights(tmp_path):
    raw = {"a": torch.zeros(1)}
    torch.save({"state_dict": raw, "state_dict_ema": TENSORS, "epoch": 3}, tmp_path / "m.pth.tar")
    assert_tensors(load_state(tmp_path / "m.pth.tar"))
    assert load_state(tmp_path / "m.pth.tar", key="state_dict").keys() == raw.keys()
    with pytest.raises(CamstudyError, match=r"unknown key of .* `state_dict_emma`, did you mean `state_dict_ema`"):
        load_state(tmp_path / "m.pth.tar", key="state_dict_emma")
    with pytest.raises(CamstudyError, match="key `epoch` is not a mapping of names to tensors"):
        load_state(tmp_path / "m.pth.tar", key="epoch")


def test_files_of_timms_trainer_with_namespace_and_paths(tmp_path):
    args = argparse.Namespace(lr=1e-3, output=pathlib.PosixPath("/data/out"), pure=pathlib.PurePosixPath("x"))
    torch.save({"state_dict": TENSORS, "args": args, "best": (3, None)}, tmp_path / "m.pth.tar")
    assert_tensors(load_state(tmp_path / "m.pth.tar"))


def test_paths_written_on_windows(tmp_path):
    class Windows:
        def __reduce__(self):
            return pathlib.WindowsPath, ("C:\\", "out")

    torch.save({"state_dict": TENSORS, "args": Windows()}, tmp_path / "m.pth")
    assert_tensors(load_state(tmp_path / "m.pth"))


def test_prefix_of_data_parallel_is_removed_only_where_every_name_has_it():
    own, ones = {"a": torch.ones(1), "b": torch.ones(1)}, torch.ones(1)
    assert unwrapped(own, {"module.a": ones, "module.b": ones}).keys() == {"a", "b"}
    assert unwrapped(own, {"module.a": ones, "b": ones}).keys() == {"module.a", "b"}


def test_checksum(tmp_path):
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file(TENSORS, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert_tensors(load_state(path, sha256=digest))
    assert_tensors(load_state(path, sha256=digest.upper()))
    with pytest.raises(CamstudyError, match=f"its sha256 is {digest}, expected {'0' * 64}"):
        load_state(path, sha256="0" * 64)


class Malicious:
    def __reduce__(self):
        return pathlib.Path.write_text, (pathlib.Path("executed"), "!")


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch, new_format):
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": TENSORS, "args": Malicious()}
    torch.save(content, "m.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(CamstudyError, match=r"m.pth: holds a Python object, `\S+`, and loading it would run code"):
        load_state("m.pth")
    assert not pathlib.Path("executed").exists()


def test_allowing_namespaces_does_not_outlast_the_call(tmp_path):
    torch.save({"state_dict": TENSORS, "args": argparse.Namespace(a=1)}, tmp_path / "m.pth")
    load_state(tmp_path / "m.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "m.pth", weights_only=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.safetensors", b"\x00" * 40, "cannot be read"),
        ("m.safetensors", b"", "cannot be read"),
        ("m.pth", b"", "cannot be read"),
        ("m.pth", b"<html>not found</html>", "cannot be read"),
        ("m.pth", b"PK\x03\x04" + b"\x00" * 50, "cannot be read"),
    ],
)
def test_damaged_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CamstudyError, match=f"{name}: {message}"):
        load_state(tmp_path / name)


@pytest.mark.parametrize("name", ["m.safetensors", "m.pth"])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    torch.save(TENSORS, path) if name == "m.pth" else safetensors.torch.save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CamstudyError, match=f"{name}: cannot be read"):
        load_state(path)


def test_other_content_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CamstudyError, match="is not a mapping of names to tensors: it holds a list"):
        load_state(tmp_path / "list.pth")
    torch.save({"weights": TENSORS, "others": TENSORS, "epoch": 1}, tmp_path / "nested.pth")
    with pytest.raises(CamstudyError, match=r"weights in 2 places; set `weights.key` to one of weights, others"):
        load_state(tmp_path / "nested.pth")
    assert_tensors(load_state(tmp_path / "nested.pth", key="weights"))
    with pytest.raises(CamstudyError, match="no such file"):
        load_state(tmp_path / "absent.pth")
    safetensors.torch.save_file(TENSORS, tmp_path / "m.safetensors")
    with pytest.raises(CamstudyError, match=r"remove `weights.key`"):
        load_state(tmp_path / "m.safetensors", key="model")


def test_dtypes_are_those_of_the_model(tmp_path):
    source, target = small(1).half(), small(2)
    save_model(source, tmp_path / "m.safetensors")
    load_weights(target, tmp_path / "m.safetensors")
    assert {p.dtype for p in target.parameters()} == {torch.float32}
    np.testing.assert_array_equal(target.get_parameter(SHARED[0]).detach(), source.get_parameter(SHARED[0]).detach())
    assert len({id(layer.P) for layer in dcls_layers(target)}) == 4


def test_numbers_of_numpy_beside_the_weights_are_read(tmp_path):
    numbers = {"best": np.float64(71.25), "epoch": np.int64(3), "done": np.bool_(True), "loss": np.float32(0.5)}
    torch.save({"state_dict": TENSORS, **numbers}, tmp_path / "m.pth")
    assert load_state(tmp_path / "m.pth").keys() == TENSORS.keys()


def test_floats_of_8_bits_want_a_scale():
    model = nn.Linear(2, 2)
    state = {name: value.detach().to(torch.float8_e4m3fn) for name, value in model.state_dict().items()}
    with pytest.raises(CamstudyError, match=r"from before quantization.*`weight` \(float8_e4m3fn\)"):
        load_into(model, state, where="m.pth")
