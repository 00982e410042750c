"""The report of a finished study: a page of its own, and what Snakemake's report says of the answer."""
