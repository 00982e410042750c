"""The path of every result, as the rules write them; a test holds the two against each other.

Patterns stand literally in workflow/rules, where readers look for the data flow. Everything but a study's own folder is
shared by all studies.
"""

from collections.abc import Mapping

from camstudy.core.paths import expanded
from camstudy.data.archives import place_of

RESULTS = "results"


def shard(dataset: str, number: int) -> str:
    """Record of a TFRecord shard, drawn or downloaded; the shard lies beside it."""
    return f"{RESULTS}/raw/{dataset}/{number}.json"


def archive(place: str, file: str) -> str:
    """Record of an archive that is fetched; the archive lies beside it."""
    return f"{RESULTS}/raw/{place}/{file}.json"


def root(entry: Mapping) -> str:
    """Folder with the files that a dataset of photographs is prepared from: the user's, or that of its archives."""
    return expanded(entry["root"]) if entry.get("root") else f"{RESULTS}/raw/{place_of(entry)}"


def dataset(name: str) -> str:
    """Manifest of a prepared dataset."""
    return f"{RESULTS}/data/{name}.json"


def fixations(dataset: str) -> str:
    """Manifest of the fixations of a dataset, where they were corrected after it was prepared."""
    return f"{RESULTS}/data/{dataset}.fixations.json"


def weights(model: str) -> str:
    """Record of a model's starting weights."""
    return f"{RESULTS}/weights/{model}.json"


def model(name: str) -> str:
    """Record of a finished model; its weights lie beside it."""
    return f"{RESULTS}/models/{name}/model.json"


def check(model: str) -> str:
    """Record of what a network is, found before it has weights."""
    return f"{RESULTS}/models/{model}/check.json"


def heatmaps(dataset: str, model: str, method: str, part: str = "") -> str:
    """Manifest of a store of maps."""
    return f"{RESULTS}/heatmaps/{dataset}/{model}/{method}{part}.json"


def ceiling(dataset: str) -> str:
    """The agreement between people."""
    return f"{RESULTS}/scores/{dataset}/human_ceiling.json"


def prediction(dataset: str, model: str) -> str:
    """Record of what a model predicts; the table lies beside it."""
    return f"{RESULTS}/scores/{dataset}/{model}/prediction.json"


def scores(dataset: str, model: str, method: str, protocol: str, part: str = "") -> str:
    """Record of scores under a protocol; the table lies beside it."""
    return f"{RESULTS}/scores/{dataset}/{model}/{method}/{protocol}{part}.json"


def cost(protocol: str, model: str) -> str:
    """What a network costs."""
    return f"{RESULTS}/cost/{protocol}/{model}.json"


def timing(protocol: str, dataset: str, model: str, method: str) -> str:
    """How long a method takes."""
    return f"{RESULTS}/cost/{protocol}/{dataset}/{model}/{method}.json"


def study(name: str, file: str) -> str:
    """A file of a study's own."""
    return f"{RESULTS}/studies/{name}/{file}"
