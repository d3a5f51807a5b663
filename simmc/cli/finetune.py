"""`simmc finetune` and `SimMC-UF.py`: SimMC on the features of a source model."""

from simmc.data.experiment.load import Experiment
from simmc.data.experiment.scaling import standardised
from simmc.engine import run as training
from simmc.methods import simmc_uf as method
from simmc.methods.simmc import SimMC
from simmc.methods.sources import find_source
from simmc.models.simmc import training_flops
from simmc.settings import FinetuneSettings, Resolved


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    return training.main(METHOD, argv)


def title(settings: FinetuneSettings) -> str:
    """The row's name in the paper's tables."""
    return f"{settings.source} + SimMC"


def load(settings: FinetuneSettings) -> Experiment:
    """The experiment with features in place of windows."""
    files, about, remedy = settings.files, settings.about, settings.remedy
    data = training.load(
        settings,
        features=lambda split, stored: files.read_split(split, stored, about, remedy),
    )
    return standardised(data) if settings.standardise == "on" else data


def remarks(resolved: Resolved[FinetuneSettings], data: Experiment) -> list[str]:
    """Whose features they are, and what stands in the way of label-free numbers."""
    settings = resolved.settings
    about = settings.about
    said = [f"features: {settings.features}, {about['made_by']}"]
    if settings.uses_identities and not settings.label_free_possible:
        said.append(
            f"no label-free numbers: {about['labels']}, and there are no features "
            f"{settings.without_identities().features} (simmc export-features --protocol "
            "label_free makes them where the source model has such a training)"
        )
    return said


def model_size(settings: FinetuneSettings) -> str:
    """Parameters and operations of the source model and of SimMC on its features."""
    source = find_source(settings.source)
    width, parameters, flops = source.size(settings.spec.skeleton, settings.dataset)
    own = width * settings.H + (settings.D - 1) * settings.H**2 + settings.D * settings.H
    own += 2 * (settings.H**2 + settings.H)
    own_flops = training_flops(
        width,
        settings.H,
        settings.D,
        views=2,
        batch=settings.batch_size,
        length=settings.length,
    )
    return (
        f"{title(settings)} on {settings.dataset}: {parameters + own:,} parameters "
        f"({(parameters + own) / 1e6:.2f}M: {settings.source} {parameters:,}, SimMC on {width} "
        f"values a frame {own:,}); {(flops + own_flops) / 1e9:.2f} GFLOP as the papers count"
    )


METHOD = training.Method(
    title,
    FinetuneSettings,
    SimMC,
    method.score,
    model_size,
    load=load,
    remarks=remarks,
)
