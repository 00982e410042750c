"""Names of trials: a dataset, or a study, of so many images only is called `{name}-n64`."""


def trial_name(name: str, count: int) -> str:
    """Return what a dataset or study is called with so many images."""
    return f"{name}-n{count}"


def untried_name(name: str, count: int | None) -> str:
    """Return what a dataset or study is called without a trial of so many images, of None if there is no trial.

    >>> untried_name("photos-n64", 64), untried_name("photos-n64", None)
    ('photos', 'photos-n64')
    """
    return name if count is None else name.removesuffix(trial_name("", count))
