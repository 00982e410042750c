"""From scores of images to a study's long tables: statistics, aggregation, published values."""
