"""From scores of images to a study's long tables: statistics, aggregation, published values."""

# The long tables beside scores and comparisons, of which tables and figures name what they are made from.
BESIDE = ("sweep", "layers", "layer_scores", "curves", "steps", "similarity", "seeds", "redrawn", "by_prediction")
