"""Training images: augmented samples in an order that reads a chunked store nearly sequentially."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler
from torchvision.transforms import v2

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import Dataset as ImageStore
from camstudy.data.formats.photographs import Pictures
from camstudy.training.distributed import ALONE, Group
from camstudy.training.validation import batches, held_out, targets

# Chunks shuffled together: enough to mix classes, few enough to stay in memory (16 x 64 images of 256 px: 200 MB; as
# many encoded photographs of ImageNet: 110 MB).
BUFFER_CHUNKS = 16


class ChunkShuffle(Sampler[int]):
    """Shuffle whole chunks, then images within buffers of ``BUFFER_CHUNKS`` chunks; a new order every epoch.

    The order depends on (seed, epoch) alone, so that a resumed run sees the images of an undisturbed one. Images that
    are ``held_out`` do not come.
    """

    def __init__(self, n: int, chunk: int, seed: int, held_out: Sequence[int] = ()) -> None:
        self.n, self.chunk, self.seed, self.epoch = n, chunk, seed, 0
        self._wanted = np.ones(n, bool)
        self._wanted[np.asarray(held_out, np.int64)] = False

    def __len__(self) -> int:
        return int(self._wanted.sum())

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        starts = rng.permutation(np.arange(0, self.n, self.chunk))
        for first in range(0, len(starts), BUFFER_CHUNKS):
            buffer = starts[first : first + BUFFER_CHUNKS]
            order = rng.permutation(
                np.concatenate([np.arange(start, min(start + self.chunk, self.n)) for start in buffer])
            )
            yield from order[self._wanted[order]].tolist()


class BatchShare(BatchSampler):
    """One process's part of every batch, in ``passes`` pieces; the pieces of all processes are the batch of one alone.

    A piece holds neighbours, so that whoever prepares it reads few chunks. Which images make a pass does not depend on
    the number of processes.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, group: Group, passes: int = 1) -> None:
        self.group, self.passes, self.pieces = group, passes, passes * group.size
        if batch_size % self.pieces:
            raise CamstudyError(
                f"train.batch_size: {batch_size} images cannot be divided evenly among {group.size} processes, one per "
                f"GPU, of {passes} passes each; choose a multiple of {self.pieces}, or another `train.gpu` or "
                "`train.accumulate`"
            )
        super().__init__(sampler, batch_size, drop_last=True)

    def __len__(self) -> int:
        return super().__len__() * self.passes

    def __iter__(self) -> Iterator[list[int]]:
        size = self.batch_size // self.pieces
        for batch in super().__iter__():
            ordered = sorted(batch) if self.pieces > 1 else batch
            for number in range(self.passes):
                start = (number * self.group.size + self.group.rank) * size
                yield ordered[start : start + size]


def augmentation(config: Mapping, size: int, mean: list[float], std: list[float]) -> v2.Transform:
    """Return the random transform of a training sample: uint8 (3, y, x) -> float32 (3, size, size).

    ``config`` is the recipe's ``augment`` entry: ``scale`` (area range of the random resized crop), ``padding`` (pixels
    of black around the image, from which a random square is cut instead), ``flip`` (probability), ``rotation`` (degrees
    either way, nearest neighbours, black corners), ``color_jitter`` (strength of brightness, contrast and saturation),
    ``erase`` (probability).
    """
    jitter, padding, rotation = config["color_jitter"], config.get("padding"), config.get("rotation")
    crop: list[v2.Transform] = [v2.RandomResizedCrop(size, scale=tuple(config["scale"]), antialias=True)]
    if padding is not None:
        # The first is nothing to images of the input's size.
        crop = [v2.Resize((size, size), antialias=True), v2.RandomCrop(size, padding=padding)]
    return v2.Compose(
        [
            *crop,
            v2.RandomHorizontalFlip(config["flip"]),
            v2.RandomRotation(rotation) if rotation else v2.Identity(),
            v2.ColorJitter(jitter, jitter, jitter) if jitter else v2.Identity(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
            v2.RandomErasing(config["erase"]),
        ]
    )


class TrainingSamples(Dataset):
    """Augmented samples of an image store, repeatable for any number of loader processes."""

    def __init__(self, store: ImageStore, transform: v2.Transform, seed: int) -> None:
        self.store, self.transform, self.seed = store, transform, seed
        # Asking the store would read them for every image.
        self.labels, self.chunk = targets(store), store.chunk
        self.epoch = 0
        self._chunks: OrderedDict[int, np.ndarray | Pictures] = OrderedDict()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, np.integer | np.ndarray]:
        chunk, offset = divmod(index, self.chunk)
        # A copy: pixels of photographs, which are decoded here, cannot be written to.
        image = torch.from_numpy(np.array(self._chunk(chunk)[offset])).permute(2, 0, 1)
        # Seeding each sample makes it independent of the order and of the number of worker processes.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(
                int(np.random.SeedSequence([self.seed, self.epoch, index]).generate_state(1)[0])
            )
            return self.transform(image), self.labels[index]

    def _chunk(self, number: int) -> np.ndarray | Pictures:
        """Return the images of a chunk; photographs stay files until they are needed."""
        if number not in self._chunks:
            start = number * self.chunk
            self._chunks[number] = self.store.images(slice(start, min(start + self.chunk, len(self))))
            if len(self._chunks) > BUFFER_CHUNKS:
                self._chunks.popitem(last=False)
        return self._chunks[number]


class TrainingLoader:
    """Batches of one epoch at a time: ``loader.epoch(3)`` yields (images, labels) tensors, the last batch dropped
    if it is incomplete. Of multi-label data labels are sets (n, classes), and each image comes once, not once an item.

    With ``accumulate`` passes a step, each batch comes in as many pieces, one after the other; ``len(loader)`` counts
    the pieces. In a group of processes each gets its part of them, of ``batch_size / accumulate / group.size`` images;
    all parts of a batch are the batch of one process, augmented alike. ``loader.validation(device)`` yields the images
    that the recipe holds out, of each process its part.
    """

    def __init__(
        self,
        store: ImageStore,
        recipe: Mapping,
        input_config: Mapping,
        seed: int,
        workers: int = 0,
        group: Group = ALONE,
    ) -> None:
        transform = augmentation(recipe["augment"], input_config["size"], input_config["mean"], input_config["std"])
        self._samples = TrainingSamples(store, transform, seed)
        labels = self._samples.labels
        self.highest_label = int(labels.max()) if labels.ndim == 1 else labels.shape[1] - 1
        images = np.arange(store.n) if labels.ndim == 1 else np.unique(store.sources)
        held = images[held_out(len(images), recipe["hold_out"], seed)]
        if recipe["hold_out"] and not len(held):
            raise CamstudyError(
                f"train.hold_out: {recipe['hold_out']} of {len(images)} images is none; hold out a larger share"
            )
        others = np.setdiff1d(np.arange(store.n), images)
        self._sampler = ChunkShuffle(store.n, store.chunk, seed, np.concatenate([held, others]))
        self._store, self._input = store, input_config
        self._held = np.array_split(held, group.size)[group.rank]
        self._pass = recipe["batch_size"] // recipe["accumulate"] // group.size
        self._loader = DataLoader(
            self._samples,
            batch_sampler=BatchShare(self._sampler, recipe["batch_size"], group, recipe["accumulate"]),
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
        )

    def __len__(self) -> int:
        return len(self._loader)

    def validation(self, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images that are held out, prepared as for evaluation, with their labels, on the device."""
        return batches(self._store, self._held, self._input, max(self._pass, 1), device)

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of epoch ``number``, whatever came before."""
        self._samples.epoch = self._sampler.epoch = number
        try:
            yield from self._loader
        except CamstudyError as error:
            # A worker process sends the traceback along, in the text.
            raise CamstudyError(str(error).rpartition("CamstudyError: ")[2].strip()) from None
