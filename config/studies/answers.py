"""A figure for photographs: what a network says that they show, how sure it is, and the maps of all methods."""

from camstudy.figures import FIGURES


@FIGURES.register("answers", title="Photographs, what they show, and the maps of all methods", needs="maps", metrics=())
def answers(images, human, maps, labels, *, predicted, probabilities, **more):
    """Return a row per photograph, with the probability of its class; without labels, the class that is explained."""
    from camstudy.figures.method_grid import method_grid

    for model, said in predicted.items():
        shown = [f"{label} {share:.0%}" for label, share in zip(labels, probabilities[model], strict=True)]
        # Only what differs from the label is written as a mistake.
        said = [text if one == label else one for text, one, label in zip(shown, said, labels, strict=True)]
        return method_grid(images, human, maps, shown, predicted={model: said}, **more)
    return method_grid(images, human, maps, labels, **more)
