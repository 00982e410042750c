"""Which keys of the catalogue's entries stand in the identity of which result."""

# Named views: which keys of an entry decide what. Titles, estimates and the number of GPUs are in none.
ARCHITECTURE = ("arch", "kwargs", "num_classes", "output", "binary", "variant")
HEAD = ("head",)
INPUT = ("input",)
EXPLANATION = ("method", "target", "geometry", "stage", "references")
SCORING = ("postprocess",)
# Geometries whose images became others, while those of the others, made by the same code, stayed as they were.
CORRECTED = {"authors": {"resized": "tensorflow"}}
NOT_TRAINING = ("gpu", "dataset")
NOT_WEIGHTS = ("sha256", "path", "url")
NOT_DATA = ("human_ceiling", "root", "archives", "shards")
NOT_PROTOCOL = ("title",)
# Long tables that began later than the others to go by the images that count.
LATELY_COUNTED = ("layer_scores", "seeds", "similarity")
