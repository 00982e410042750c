"""Stages that a network does not have, told by their number alone: known without the network, and without torch."""


def missing_stage(network: str, count: int, stage: int) -> str:
    """Return what to say of a stage that a network lacks, and nothing of one that it has.

    ``network`` is the name of its class, ``count`` the number of its stages, 0 where it is not known what they are.
    Stages are 1 to ``count``, or -``count`` to -1 counted from the last.
    """
    if not count:
        return (
            f"of {network} it is not known what its stages are; leave the model out, or make it an entry of its own "
            "for each layer, with `target_layer`"
        )
    if not 1 <= abs(stage) <= count:
        return (
            f"found {stage}, but {network} has the stages 1 to {count}, or -{count} to -1 counted from the last; "
            "ask for one of these, or leave the model out"
        )
    return ""
