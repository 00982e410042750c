"""What networks of timm get to see, against timm's own transform of every configuration, and where it lies."""

import warnings
from itertools import product

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from test_photographs import ATTRS, SETTINGS, Net, picture, save, write
from test_pipeline import study
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg
from timm.models._registry import get_deprecated_models

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import boxes_in_view, resample_in_boxes
from camstudy.core.identity import parts
from camstudy.data.formats.gaze import fixation_density
from camstudy.data.formats.photographs import Photograph
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.run import explain_dataset
from camstudy.explain.store import Heatmaps
from camstudy.models import timm_names
from camstudy.models.build import _checked_timm_name, input_config
from camstudy.models.inputs import crop_box, crop_boxes, prepare
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.sources import Sources

torch.set_num_threads(1)


def configurations():
    """Return a tag of each distinct configuration of timm's pretrained tags, with that configuration."""
    found = {}
    for name in timm.list_pretrained():
        config = resolve_data_config(pretrained_cfg=get_pretrained_cfg(name).to_dict())
        found.setdefault(tuple(sorted(config.items())), (name, config))
    return list(found.values())


CONFIGURATIONS = configurations()
SQUARE = [(name, config) for name, config in CONFIGURATIONS if config["input_size"][1] == config["input_size"][2]]


def test_all_configurations_are_there():
    assert {config["crop_mode"] for _, config in CONFIGURATIONS} == {"center", "squash", "border"}
    assert len(CONFIGURATIONS) > 150
    assert any(config["crop_pct"] > 1 for _, config in CONFIGURATIONS)


@pytest.mark.parametrize(("name", "config"), SQUARE, ids=[name for name, _ in SQUARE])
def test_inputs_are_those_of_timms_transform(name, config):
    """Wide, high, tiny, and square photographs; squares of a store, which torch resizes, to two grey levels."""
    images = [picture(*size) for size in ((75, 100), (103, 41), (3, 2), (96, 96))]
    transform = create_transform(**config, is_training=False)
    expected = torch.stack([transform(Image.fromarray(image)) for image in images])
    found = input_config({"arch": name})
    assert torch.allclose(prepare(images, found), expected, rtol=0, atol=1e-6)
    squares = prepare(images[-1][None], found)
    levels = (squares - expected[-1:]) * torch.tensor(config["std"]).reshape(3, 1, 1) * 255
    assert levels.abs().max() < 2.001


def test_inputs_that_are_not_square_are_refused():
    others = [name for name, config in CONFIGURATIONS if (name, config) not in SQUARE]
    assert others
    for name in others:
        with pytest.raises(CamstudyError, match=rf"input.size: `{name}` takes \d+x\d+ images; give the side"):
            input_config({"arch": name})


# ---- where things are

SIZES = [(300, 400), (400, 220), (320, 320)]
GREY = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}
GEOMETRIES = [
    {"size": size, "crop_pct": crop_pct, "crop_mode": mode, **GREY}
    for mode, (size, crop_pct) in product(("center", "squash", "border"), ((128, 1.0), (96, 0.8), (96, 1.15)))
]


@pytest.mark.parametrize("config", GEOMETRIES, ids=lambda c: f"{c['crop_mode']}-{c['crop_pct']}")
@pytest.mark.parametrize("size", SIZES)
def test_boxes_and_fixations_lie_where_timm_shows_them(config, size):
    """A white rectangle on black: timm's own transform shows where it is, to a pixel."""
    height, width = size
    edges = np.array([0.4 * height, 0.45 * width, 0.65 * height, 0.6 * width]).astype(int)
    image = np.zeros((height, width, 3), np.uint8)
    image[edges[0] : edges[2], edges[1] : edges[3]] = 255
    transform = create_transform(
        (3, config["size"], config["size"]),
        **{key: config[key] for key in ("crop_pct", "crop_mode", "interpolation")},
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    white = transform(Image.fromarray(image))[0].numpy() > 0.5
    rows, columns = (np.flatnonzero(white.any(axis)) for axis in (1, 0))
    shown = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
    view = crop_boxes(config, [size])
    mapped, dropped = boxes_in_view(edges[None, None], size, view, (config["size"], config["size"]))
    assert mapped[0, 0] == pytest.approx(shown, abs=1)
    assert dropped == 0
    # Fixations in the middle of it: their density is highest there, and nothing is looked at beyond the photograph.
    middle = np.array([[edges[[0, 2]].mean(), edges[[1, 3]].mean()]])
    density = fixation_density(middle, size, sigma=height / 20)
    seen = resample_in_boxes(density[None], view, (config["size"], config["size"]))[0]
    highest = np.add(np.unravel_index(seen.argmax(), seen.shape), 0.5)
    assert highest == pytest.approx([np.mean(shown[::2]), np.mean(shown[1::2])], abs=1.5)
    inside = resample_in_boxes(np.ones((1, 5, 7)), view, (config["size"], config["size"]))[0] == 1
    bordered = create_transform(
        (3, config["size"], config["size"]),
        **{key: config[key] for key in ("crop_pct", "crop_mode", "interpolation")},
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )(Image.fromarray(np.full_like(image, 255)))[0].numpy()
    assert np.array_equal(inside, bordered > 0.5)


@pytest.mark.parametrize("config", GEOMETRIES, ids=lambda c: f"{c['crop_mode']}-{c['crop_pct']}")
def test_squares_of_a_store_have_the_box_of_square_photographs(config):
    assert crop_box(config) == pytest.approx(crop_boxes(config, [(256, 256)])[0], abs=0.02)


@pytest.mark.parametrize(
    ("mode", "boxes"),
    [
        ("center", [(0, 1 / 8, 1, 7 / 8), (1 / 4, 0, 3 / 4, 1)]),
        ("squash", [(0, 0, 1, 1), (0, 0, 1, 1)]),
        # The longer side has all pixels of the input, so that the shorter one lacks a quarter, or a half.
        ("border", [(-1 / 6, 0, 7 / 6, 1), (0, -1 / 2, 1, 3 / 2)]),
    ],
)
def test_stores_of_maps_say_what_the_network_saw(tmp_path, mode, boxes):
    (tmp_path / "images").mkdir()
    for index, size in enumerate([(72, 96), (96, 48)]):
        save(tmp_path / f"images/{index}.png", picture(*size))
    items = [Photograph(f"{index}.png", index) for index in range(2)]
    dataset = write(tmp_path / "data.json", tmp_path / "images", items)
    torch.manual_seed(0)
    model = Net().eval()
    method = {"method": "gradcam", "parameters": {}, "target": "label", "geometry": "aligned"}
    config = {"size": 64, "crop_pct": 1.0, "crop_mode": mode, **GREY}
    explainer = Explainer(model, resolve_target_layer(model, "trunk.3", size=64), config, method)
    rest = {"images": slice(0, 2), "settings": SETTINGS, "attrs": ATTRS, "identity": "f"}
    explain_dataset(tmp_path / "maps.json", dataset, explainer, **rest)
    # To a pixel of 64: (72, 96) becomes (64, 85) with its proportions kept by the shorter side.
    assert Heatmaps([tmp_path / "maps.json"]).boxes() == pytest.approx(np.array(boxes, float), abs=1 / 64)


# ---- old names


@pytest.mark.parametrize("old", sorted(get_deprecated_models()))
def test_old_names_have_the_input_of_todays(old):
    new = get_deprecated_models()[old]
    if new.partition(".")[2] == "sam":
        # timm itself fails here: its map of old names has a tag that it does not have any more.
        with pytest.raises(CamstudyError, match=rf"unknown timm weights tag `{new}`"):
            input_config({"arch": old})
        return
    config = resolve_data_config(pretrained_cfg=get_pretrained_cfg(new).to_dict())
    found = input_config({"arch": old})
    assert (3, found.pop("size"), config["input_size"][2]) == config.pop("input_size")
    assert found == {key: list(value) if key in ("mean", "std") else value for key, value in config.items()}


def test_old_names_are_the_networks_that_timm_makes_of_them():
    for old, tag in [("tv_resnet50", "tv_in1k"), ("tf_efficientnet_b4_ns", "ns_jft_in1k")]:
        with warnings.catch_warnings(action="ignore"), torch.device("meta"):
            theirs = timm.create_model(old)
        with torch.device("meta"):
            ours = timm.create_model(_checked_timm_name(old))
        assert ours.pretrained_cfg == theirs.pretrained_cfg
        assert ours.pretrained_cfg["tag"] == tag


# ---- what planning knows


def test_the_table_of_names_is_that_of_the_installed_timm():
    """`python -m camstudy.models.timm_names` writes it anew."""
    assert timm_names.json.loads(timm_names.TABLE.read_text()) == timm_names.read_timm()


@pytest.mark.parametrize(
    ("arch", "facts"),
    [
        ("resnet50.a1_in1k", ("resnet50.a1_in1k", False, 1000, "center")),
        ("resnet50", ("resnet50", False, 1000, "center")),
        ("convnext_base.fb_in22k_ft_in1k_384", ("convnext_base.fb_in22k_ft_in1k_384", False, 1000, "squash")),
        ("vit_base_patch16_224_in21k", ("vit_base_patch16_224.augreg_in21k", True, 21843, "center")),
        ("tv_resnet50", ("resnet50.tv_in1k", True, 1000, "center")),
        ("vit_base_patch16_224.dino", ("vit_base_patch16_224.dino", False, 0, "center")),
        ("mynet.Net", ("mynet.Net", False, None, "center")),
    ],
)
def test_facts_of_names(arch, facts):
    assert timm_names.facts(arch) == timm_names.Facts(*facts)


def identities(**entry):
    """Return the identities of maps of photographs and of squares, given an entry of a model."""
    model = {"weights": "random", "num_classes": 10} | entry
    datasets = {"photographs": {"source": "mit1003", "root": "nowhere"}}
    planned = study(catalog={"models": {"m": model}, "datasets": datasets}, models=["m"], comparisons=[])
    identity = Identities(planned, Sources(planned))
    return [parts(identity.explanation(data, "m", "gradcam")).get("input") for data in ("photographs", "tiny")]


def test_only_what_was_prepared_wrongly_is_made_anew():
    assert identities(arch="resnet50.a1_in1k") == [None, None]
    photographs, squares = identities(arch="convnext_base.fb_in22k_ft_in1k_384")
    assert squares is None
    assert photographs is not None
    old = identities(arch="tv_resnet50")
    assert old[0] == old[1] is not None
    # Its configuration is timm's default one, as it was taken to be.
    alike = next(name for name in get_deprecated_models() if not timm_names.facts(name).has_other_input)
    assert identities(arch=alike) == [None, None]
