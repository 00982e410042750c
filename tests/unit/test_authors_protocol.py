"""`geometry: authors` against a direct statement of the protocol of arXiv 2408.03164, with the same weights."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from timm.data import create_transform
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import resample, resample_in_boxes
from camstudy.core.store import ArraySpec, StoreWriter, open_store
from camstudy.data.dataset import Dataset
from camstudy.data.formats.clickme import blur_human_map
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.postprocess import apply
from camstudy.explain.run import explain_dataset
from camstudy.explain.store import Heatmaps
from camstudy.metrics.alignment import score_agreement
from camstudy.models.inputs import prepare_as_authors, resize_as_tensorflow

torch.set_num_threads(1)

N, CLASSES = 5, 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INPUT = {"size": 224, "crop_pct": 0.875, "interpolation": "bicubic", "mean": MEAN, "std": STD}


@pytest.fixture(scope="module")
def clickme(tmp_path_factory):
    """Images, clicks as ClickMe has them (256x256 grey levels), labels, and the prepared store of them."""
    rng = np.random.default_rng(0)
    images = gaussian_filter(rng.normal(size=(N, 256, 256, 3)), (0, 3, 3, 0))
    images = (255 * (images - images.min()) / np.ptp(images)).astype(np.uint8)
    clicks = gaussian_filter((rng.random((N, 256, 256)) < 2e-4).astype(float), (0, 6, 6))
    clicks = (255 * clicks / clicks.max((1, 2), keepdims=True)).astype(np.uint8)
    labels = np.arange(N) % CLASSES
    manifest = tmp_path_factory.mktemp("data") / "clickme.json"
    arrays = {
        "image": ArraySpec("str"),
        "pixels": ArraySpec("uint8", (256, 256, 3), ("y", "x", "channel")),
        "label": ArraySpec("int64"),
        "human_map": ArraySpec("float32", (64, 64), ("map_y", "map_x")),
    }
    writer = StoreWriter(manifest, n=N, chunk=N, arrays=arrays, attrs={}, identity="clickme")
    names, human_maps = [f"val-0#{i}" for i in range(N)], blur_human_map(list(clicks))
    writer.write(slice(0, N), image=names, pixels=images, label=labels, human_map=human_maps)
    writer.finish()
    return images, clicks, labels, Dataset(manifest, open_store(manifest))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    net = timm.models.resnet.ResNet(
        timm.models.resnet.BasicBlock, (1, 1, 1, 1), num_classes=CLASSES, channels=(8, 16, 24, 32), stem_width=8
    )
    # Mostly positive, so that no map is zero everywhere, with negative ones, so that the place of the ReLU matters.
    torch.nn.init.uniform_(net.fc.weight, -0.5, 1.0)
    return net.eval()


def human_maps(clicks):
    """Bilinear to 64x64, a kernel exp(-(x^2 + y^2) / 200), 4 zeros before and 5 after, bilinear to 224x224."""
    x = torch.arange(-5.0, 5.0)
    kernel = torch.exp(-(x[None] ** 2 + torch.arange(4.0, -6.0, -1.0)[:, None] ** 2) / 200)
    maps = torch.tensor(clicks, dtype=torch.float64)[:, None]
    maps = F.interpolate(maps, size=64, mode="bilinear", align_corners=False)
    maps = F.conv2d(F.pad(maps, (4, 5, 4, 5)), (kernel / kernel.sum())[None, None].double())
    return F.interpolate(maps, size=224, mode="bilinear", align_corners=False)[:, 0].numpy()


def resized_by_tensorflow(image, size):
    """``tf.image.resize`` of a square image, value by value as its kernel states it: lower, upper, lerp; x, then y."""
    side, one = len(image), np.float32
    scale, found = one(side) / one(size), np.empty((size, size, image.shape[2]), np.float32)
    places = []
    for i in range(size):
        at = (one(i) + one(0.5)) * scale - one(0.5)
        places.append((max(int(np.floor(at)), 0), min(int(np.ceil(at)), side - 1), at - np.floor(at)))
    image = image.astype(np.float32)
    for y, (above, under, down) in enumerate(places):
        for x, (left, right, along) in enumerate(places):
            top = image[above, left] + (image[above, right] - image[above, left]) * along
            bottom = image[under, left] + (image[under, right] - image[under, left]) * along
            found[y, x] = top + (bottom - top) * down
    return found


@pytest.mark.parametrize(("side", "size"), [(16, 14), (9, 14), (7, 7), (3, 8), (13, 2)])
def test_images_are_resized_as_by_tensorflow(side, size):
    image = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    found = resize_as_tensorflow(image, size)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, resized_by_tensorflow(image, size))
    double = F.interpolate(torch.tensor(image).permute(2, 0, 1)[None].double(), size, mode="bilinear")[0]
    np.testing.assert_allclose(found, double.permute(1, 2, 0).numpy(), atol=1e-3)


def test_columns_come_before_rows():
    """Rounding differs between the orders, so that a transposed image does not give the transposed result."""
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 1), np.uint8)
    across = resize_as_tensorflow(image.transpose(1, 0, 2), 224).transpose(1, 0, 2)
    assert (across != resize_as_tensorflow(image, 224)).any()


def test_no_grey_level_is_lost():
    for level in range(256):
        flat = np.full((256, 256, 1), level, np.uint8)
        assert (resize_as_tensorflow(flat, 224).astype(np.uint8) == level).all()


def direct_scores(model, images, clicks, labels, floor):
    """Return Spearman's correlation per image, one image at a time."""
    transform = create_transform(
        (3, 224, 224), is_training=False, interpolation="bicubic", mean=MEAN, std=STD, crop_pct=INPUT["crop_pct"]
    )
    scores = []
    for image, human, label in zip(images, human_maps(clicks), labels, strict=True):
        pixels = resized_by_tensorflow(image, 224).astype(np.uint8)
        kept = []
        handle = model.layer4.register_forward_hook(lambda _module, _inputs, output, kept=kept: kept.append(output))
        logits = model(transform(Image.fromarray(pixels))[None])
        handle.remove()
        (gradient,) = torch.autograd.grad(logits[0, label], kept[0])
        products = gradient.mean((2, 3), keepdim=True) * kept[0]
        if floor is None:
            heat = products.mean(1).relu()
        else:
            heat = products.relu().mean(1)
            heat = ((heat - heat.min()) / (heat.max() - heat.min())).clamp(min=floor)
        heat = F.interpolate(heat[None], size=224, mode="bilinear", align_corners=False)
        assert heat.max() > heat.min(), "the authors skip constant maps: none here"
        scores.append(spearmanr(heat.detach().numpy().ravel(), human.ravel())[0])
    return np.array(scores)


def scores_of(tmp_path, model, dataset, name, postprocess, geometry):
    manifest = tmp_path / f"{name}.json"
    attrs = dict.fromkeys(("dataset", "model", "method", "parameters", "layer", "target_policy", "reference"))
    method = {"method": name, "parameters": {}, "target": "label", "geometry": geometry}
    explain_dataset(
        manifest,
        dataset,
        Explainer(model, resolve_target_layer(model, "layer4", size=224), INPUT, method),
        images=slice(0, N),
        settings={"batch_size": 2, "chunk_size": 3},
        attrs=attrs,
        identity="f",
    )
    heatmaps = Heatmaps([manifest])
    maps = resample(apply(heatmaps.maps(), postprocess))
    return score_agreement(maps, resample_in_boxes(dataset.human_map(), heatmaps.boxes()))["spearman"]


@pytest.mark.parametrize(
    ("method", "postprocess", "floor"), [("gradcam", {}, None), ("threshold_gradcam", {"floor": 0.3}, 0.3)]
)
def test_scores_are_the_authors(tmp_path, clickme, model, method, postprocess, floor):
    images, clicks, labels, dataset = clickme
    expected = direct_scores(model, images, clicks, labels, floor)
    found = scores_of(tmp_path, model, dataset, method, postprocess, "authors")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The protocol matters, or the comparison would prove nothing.
    aligned = scores_of(tmp_path / "aligned", model, dataset, method, postprocess, "aligned")
    assert np.abs(aligned - expected).max() > 1e-3


def test_photographs_of_all_sizes_are_refused():
    with pytest.raises(CamstudyError, match="`authors` is defined for square images"):
        prepare_as_authors([np.zeros((10, 20, 3), np.uint8)], INPUT)
    with pytest.raises(CamstudyError, match="`authors` is defined for square images"):
        prepare_as_authors(np.zeros((1, 10, 20, 3), np.uint8), INPUT)
