"""Attention methods against the papers' formulas, written out here, on a network made by hand and on timm's."""

import numpy as np
import pytest
import timm
import torch
from nets import MEAN, STD, normalize, pixels
from timm.models.beit import Beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.explain import attention
from camstudy.explain.engine import explain, map_shape
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind
from camstudy.study.attending import MODULES, attends

torch.set_num_threads(1)
NAMES = ["attention_rollout", "raw_attention", "gae", "class_embedding_projection"]
AGNOSTIC = NAMES[:2]
SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 5}
LABELS = np.array([1, 0, 4])


class Heads(nn.Module):
    """Attention with weights in the open, as timm's without fusing."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.attn_drop = nn.Linear(6, 18), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        weights = self.attn_drop((q @ k.mT).softmax(-1))
        return (weights @ v).transpose(1, 2).flatten(2)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.drop_path1 = Heads(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path1(self.attn(x))


class ByHand(nn.Module):
    """Two blocks, a class token and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 6, 8, 8), nn.Parameter(torch.randn(1, 1, 6))
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 5)

    def forward_head(self, x: Tensor) -> Tensor:
        return self.head(x[:, 0])

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return self.forward_head(self.norm(x))


def lively(model: nn.Module) -> nn.Module:
    """Return a network in float64 whose tokens attend to some more than to others, and whose logits differ."""
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.6 if parameter.ndim > 1 else 0.3
            parameter.add_(scale * torch.randn(parameter.shape, generator=draws))
    return model.double().eval()


BUILDS = {
    "by hand": (ByHand, [0], 1),
    "vit": (lambda: VisionTransformer(**SMALL, init_values=0.1), [0], 1),
    "vit, registers": (lambda: VisionTransformer(**SMALL, reg_tokens=2), [0], 3),
    "vit, mean": (lambda: VisionTransformer(**SMALL, global_pool="avg"), [*range(1, 17)], 1),
    "vit, no class token": (
        lambda: VisionTransformer(**SMALL, global_pool="avg", class_token=False),
        [*range(16)],
        0,
    ),
    "deit, distilled": (lambda: VisionTransformerDistilled(**SMALL), [0, 1], 2),
    "eva": (lambda: Eva(**SMALL | {"embed_dim": 16}, global_pool="token", use_rot_pos_emb=True), [0], 1),
    "beit": (lambda: Beit(**SMALL, use_rel_pos_bias=True, init_values=0.1), [*range(1, 17)], 1),
}


def run(model: nn.Module, name: str, labels=LABELS, **options) -> np.ndarray:
    parameters = options.pop("parameters", {})
    layer, images = resolve_target_layer(model, options.pop("layer", None), size=16), normalize(pixels(3))
    images = options.pop("images", images)
    bound = {"map": bind(name, parameters)}
    return explain(model, layer, images, labels, bound, mean=MEAN, std=STD, **options).maps["map"]


class Open:
    """A network's own pass, with the weights of each block, whose fused attention is off, in a list."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self.weights, self.added = [], []
        handles, fused = [], []
        for path, module in model.named_modules():
            if path.endswith("attn_drop"):
                handles.append(module.register_forward_hook(lambda m, i, o: self.weights.append(o)))
            if path.endswith("drop_path1"):
                handles.append(module.register_forward_hook(lambda m, i, o: self.added.append(o)))
            if hasattr(module, "fused_attn"):
                fused.append((module, module.fused_attn))
                module.fused_attn = False
        self.logits = model(images.requires_grad_())
        for handle in handles:
            handle.remove()
        for module, flag in fused:
            module.fused_attn = flag


def statement(name: str, model: nn.Module, labels, rows: list[int], prefix: int, images=None) -> np.ndarray:
    """Return the maps by the papers' formulas, image by image and head by head."""
    images = normalize(pixels(3)) if images is None else images
    maps = []
    for image, label in zip(images, labels, strict=True):
        seen = Open(model, image[None].clone())
        weights = [found[0] for found in seen.weights]
        heads, tokens = weights[0].shape[:2]
        if name == "attention_rollout":
            found = np.eye(tokens)
            for block in weights:
                mixed = 0.5 * np.eye(tokens) + 0.5 * sum(block[h].detach().numpy() for h in range(heads)) / heads
                found = mixed @ found
                np.testing.assert_allclose(mixed.sum(1), 1)
        elif name == "raw_attention":
            found = sum(weights[-1][h].detach().numpy() for h in range(heads)) / heads
        elif name == "gae":
            found = np.eye(tokens)
            for block in seen.weights:
                (gradient,) = torch.autograd.grad(seen.logits[0, label], block, retain_graph=True)
                products = gradient[0].numpy() * block[0].detach().numpy()
                found = found + np.maximum(products, 0).mean(0) @ found
        else:
            found = np.zeros((tokens, tokens))
            for block, added in zip(seen.weights, seen.added, strict=True):
                probability = model.forward_head(model.norm(added)).softmax(-1)
                loss = -torch.log(torch.exp(probability[0, label]) / torch.exp(probability[0]).sum())
                (gradient,) = torch.autograd.grad(loss, block, retain_graph=True)
                found = found - gradient[0].sum(0).numpy()
        row = found[rows].mean(0)[prefix:]
        maps.append(row.reshape(round(len(row) ** 0.5), -1))
    return np.array(maps)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", NAMES)
def test_maps_are_what_the_papers_say(build, name):
    torch.manual_seed(0)
    make, rows, prefix = BUILDS[build]
    model = lively(make())
    expected = statement(name, model, LABELS, rows, prefix)
    # Images whose maps are no copies, and neither uniform.
    assert np.ptp(expected, axis=0).max() > 1e-4 * np.abs(expected).max() > 0
    found = run(model, name, layer="patches" if build == "by hand" else None)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_classes_play_a_part_where_the_method_is_of_a_class(name):
    model = lively(VisionTransformer(**SMALL))
    same = np.array_equal(run(model, name), run(model, name, labels=np.array([2, 3, 1])))
    assert same == (name in AGNOSTIC)


def test_an_earlier_block_can_be_asked():
    model = lively(VisionTransformer(**SMALL))
    weights = Open(model, normalize(pixels(3))).weights
    for block in (0, 1, -1):
        expected = weights[block].mean(1)[:, 0, 1:].unflatten(1, (4, 4))
        np.testing.assert_allclose(run(model, "raw_attention", parameters={"block": block}), expected.detach())
    with pytest.raises(CamstudyError, match=r"`block` must be from -3 to 2, found 3"):
        run(model, "raw_attention", parameters={"block": 3})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fused", [True, False])
def test_fused_attention_is_as_it_was_afterwards(name, fused, monkeypatch):
    model = lively(VisionTransformer(**SMALL))
    for block, flag in zip(model.blocks, (fused, True, fused), strict=True):
        block.attn.fused_attn = flag
    flags = [block.attn.fused_attn for block in model.blocks]
    before = model(normalize(pixels(3)))
    maps = run(model, name)
    monkeypatch.setattr(model.blocks[1].mlp, "forward", lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(model, name)
    monkeypatch.undo()
    assert [block.attn.fused_attn for block in model.blocks] == flags
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(model(normalize(pixels(3))), before)
    np.testing.assert_array_equal(run(model, name), maps)


@pytest.mark.parametrize("name", NAMES)
def test_images_do_not_matter_to_each_other_and_memory_does_not_grow_with_them(name, monkeypatch):
    model = lively(VisionTransformer(**SMALL))
    images = normalize(pixels(7))
    labels = np.arange(7) % 5
    alone = np.concatenate([run(model, name, labels[i : i + 1], images=images[i : i + 1]) for i in range(7)])
    # Weights of two heads in each block or in one at a time; a rollout's also the mean over heads of each block.
    kept = 17 * 17 * {"gae": 2 * SMALL["depth"], "attention_rollout": 2 + SMALL["depth"]}.get(name, 2)
    sizes = []
    model.blocks[0].attn.attn_drop.register_forward_hook(lambda m, i, o: sizes.append(len(o)))
    np.testing.assert_allclose(run(model, name, labels, images=images), alone, rtol=1e-9, atol=1e-15)
    assert sizes == [1, 6]
    sizes.clear()
    monkeypatch.setattr(attention, "HELD", 3 * kept)
    np.testing.assert_allclose(run(model, name, labels, images=images, batch_size=32), alone, rtol=1e-9, atol=1e-15)
    assert sizes == [1, 3, 3]


@pytest.mark.parametrize("name", NAMES)
def test_where_only_attention_is_read_one_pass_gives_maps_and_classes(name):
    model, images, ran = lively(VisionTransformer(**SMALL)), normalize(pixels(3)), []
    handle = model.register_forward_hook(lambda m, i, o: ran.append(len(i[0])))
    layer, bound = resolve_target_layer(model), {"map": bind(name, {})}
    found = explain(model, layer, images, LABELS, bound, target="second")
    # Else the pass that gives the logits, then the method's own; a batch's first image is one to measure by.
    assert ran == [3] * (name not in AGNOSTIC) + [1, 2]
    handle.remove()
    order = model(images).argsort(1, descending=True)
    np.testing.assert_array_equal(found.predicted, order[:, 0])
    np.testing.assert_array_equal(found.target, order[:, 1])
    both = explain(model, layer, images, LABELS, bound | {"other": bind("gradcam", {})}, target="second")
    np.testing.assert_array_equal(both.maps["map"], found.maps["map"])
    with pytest.raises(CamstudyError, match="label"):
        explain(model, layer, images, np.array([0, 1, 5]), bound)


@pytest.mark.parametrize("name", NAMES)
def test_the_shape_is_that_of_the_patches(name):
    model = VisionTransformer(**SMALL | {"img_size": 24}).eval()
    assert map_shape(model, resolve_target_layer(model), 24, bind(name, {})) == (6, 6)


REFUSED = {
    "resnet": (lambda: timm.create_model("resnet10t"), 64, "ResNet has no attention that can be read"),
    "swin": (
        lambda: timm.models.SwinTransformer(img_size=32, window_size=4, embed_dim=8, depths=(1, 1), num_heads=(1, 2)),
        32,
        r"`layers\.0\.blocks\.0\.attn` of SwinTransformer has weights of shape \(4, 1, 16, 16\) for 1 images",
    ),
    "cait": (
        lambda: timm.models.Cait(img_size=32, embed_dim=12, depth=1, num_heads=2),
        32,
        r"`blocks_token_only\.0\.attn` of Cait has weights of shape \(1, 2, 1, 5\)",
    ),
    "attention pooling": (
        lambda: VisionTransformer(**SMALL, global_pool="map", class_token=False),
        16,
        "pools its tokens by `map`",
    ),
    "maximum": (lambda: VisionTransformer(**SMALL, global_pool="max"), 16, "pools its tokens by `max`"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_reason(kind, name):
    build, size, text = REFUSED[kind]
    model = build().eval()
    images = torch.zeros(2, 3, size, size)
    flags = [module.fused_attn for module in model.modules() if hasattr(module, "fused_attn")]
    with pytest.raises(CamstudyError, match=rf"^method `{name}`: .*({text}|it is not known what)"):
        explain(model, resolve_target_layer(model, size=size), images, np.zeros(2), {"map": bind(name, {})})
    assert flags == [module.fused_attn for module in model.modules() if hasattr(module, "fused_attn")]


def test_names_tell_what_attends_as_timm_does():
    modules = timm.models._registry._model_to_module
    assert {name for name in modules if attends(name)} == {
        name for name, module in modules.items() if module in MODULES
    }
    assert {name for name in modules if attends(f"{name}.some_tag")} >= {n for n in modules if attends(n)}
    assert attends("vit_base_patch16_224.augreg_in1k")
    assert not attends("resnet50.a1_in1k")
    assert attends("timm.models.vision_transformer.VisionTransformer")
    assert not attends("timm.models.resnet.ResNet")
    assert attends("my_networks.tiny")


def test_records_say_what_they_need():
    assert {name for name, method in METHODS.items() if method.attention} == set(NAMES)


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_vit_b16_with_random_weights(name):
    """Two images at 224 pixels; float32 on both sides."""
    torch.manual_seed(0)
    model = timm.create_model("vit_base_patch16_224").eval()
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    labels = np.array([7, 901])
    expected = statement(name, model, labels, [0], 1, images)
    found = explain(model, resolve_target_layer(model), images, labels, {"map": bind(name, {})}).maps["map"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_oracle_of_attention_is_a_softmax():
    """What is read off timm's block is the softmax of its scaled queries and keys, computed here of its weights."""
    model = lively(VisionTransformer(**SMALL))
    seen = Open(model, normalize(pixels(1)))
    x = model.blocks[0].norm1(model._pos_embed(model.patch_embed(normalize(pixels(1)))))
    q, k, _ = F.linear(x, model.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.bias).chunk(3, -1)
    q, k = (part.unflatten(2, (2, 6)).transpose(1, 2) for part in (q, k))
    torch.testing.assert_close(seen.weights[0], (q @ k.mT / 6**0.5).softmax(-1))
