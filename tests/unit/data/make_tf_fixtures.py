"""Make `tf_clickme.npz` and `tf_photograph.npz`: what TensorFlow makes of JPEGs, for tests that run without it.

Run with `pip install tensorflow-cpu pillow scikit-image` in an environment of its own: python make_tf_fixtures.py
The versions that made the file in use are in README.md.
"""

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from skimage import data as photographs

rng = np.random.default_rng(0)


def blobs(n):
    """Smooth maps like people's clicks: a few discs and their surroundings, up to the borders."""
    y, x = np.mgrid[:256, :256]
    heat = np.zeros((256, 256))
    for cy, cx, r in rng.uniform((0, 0, 8), (256, 256, 40), (n, 3)):
        heat += np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / r**2)
    return (255 * heat / heat.max()).round().astype(np.uint8)


def photograph():
    """Edges, gradients and a little noise in colour."""
    y, x = np.mgrid[:256, :256] / 256
    image = np.stack([255 * y, 255 * x, 127 + 100 * np.sin(20 * x * y)], -1)
    image[60:150, 80:200] = [200, 40, 60]
    image[100:120, :] = [20, 60, 220]
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def jpeg(pixels, **options):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def kernel():
    """The blur of the study and of Harmonization, for tf.nn.conv2d: (rows, columns, in, out)."""
    x, y = np.meshgrid(np.arange(-5, 5), np.arange(4, -6, -1))
    weights = np.exp(-(x**2 + y**2) / 200)
    return (weights / weights.sum()).astype(np.float32)[..., None, None]


def preprocess(heatmap):
    """uint8 (256, 256, 1) -> the blurred 64x64 map and the 224x224 map, float32."""
    small = tf.image.resize(tf.cast(heatmap, tf.float32)[None], (64, 64), method="bilinear", antialias=False)
    blurred = tf.nn.conv2d(small, kernel(), strides=1, padding="SAME")
    full = tf.image.resize(blurred, (224, 224), method="bilinear", antialias=False)
    return blurred[0, ..., 0].numpy(), full[0, ..., 0].numpy()


blocks = rng.integers(0, 256, (8, 8), np.uint8).repeat(32, 0).repeat(32, 1)
heatmaps = [jpeg(blobs(5), quality=75), jpeg(np.roll(blocks, 3, (0, 1)), quality=50)]
picture = photograph()
images = {
    "image_420": jpeg(picture, quality=75, subsampling=2),
    "image_444": jpeg(picture, quality=75, subsampling=0),
    "image_grey": jpeg(picture[..., 1], quality=75),
}
arrays = {}
for index, data in enumerate(heatmaps):
    decoded = tf.io.decode_jpeg(data.tobytes(), channels=1)
    blurred, full = preprocess(decoded)
    # Of the large map every fifth value: 224 / 64 = 7 / 2, so that all phases of the upsampling are among them.
    arrays |= {f"heatmap_{index}": data, f"decoded_{index}": decoded[..., 0].numpy()}
    arrays |= {f"blurred_{index}": blurred, f"full_{index}": full[::5, ::5]}
for name, data in images.items():
    decoded = tf.io.decode_jpeg(data.tobytes(), channels=3).numpy()
    # Two windows of 32x32: edges, and the image's corner.
    windows = [decoded[y : y + 32, x : x + 32] for y, x in ((88, 64), (224, 224))]
    arrays |= {name: data, f"{name}_windows": np.stack(windows)}
    fast, exact = (
        tf.io.decode_jpeg(data.tobytes(), channels=3, dct_method=method).numpy().astype(int)
        for method in ("INTEGER_FAST", "INTEGER_ACCURATE")
    )
    print(name, "default - fast", abs(decoded - fast).max(), "default - accurate", abs(decoded - exact).max())
np.savez_compressed(Path(__file__).with_name("tf_clickme.npz"), **arrays)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


# A photograph of quality 95, where fast and exact decoding differ most.
coffee = jpeg(photographs.coffee()[60:316, 150:406], quality=95, subsampling=2)
decoded = tf.io.decode_jpeg(coffee.tobytes(), channels=3)
resized = tf.image.resize(tf.cast(decoded, tf.float32), (224, 224), method="bilinear", antialias=False)
facts = {"decoded": digest(decoded), "resized": digest(resized), "truncated": digest(tf.cast(resized, tf.uint8))}
np.savez_compressed(Path(__file__).with_name("tf_photograph.npz"), jpeg=coffee, **facts)
print("tensorflow", tf.__version__, "numpy", np.__version__)
