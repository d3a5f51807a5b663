"""`simmc age` and `simmc sgela`: train, continue a run, or score a trained one."""

from simmc.cli import console
from simmc.cli.sources import budget
from simmc.engine import run as training
from simmc.engine.pretext import scorer
from simmc.methods import sgela as method
from simmc.models.simmc import count_parameters
from simmc.runs import seeds
from simmc.settings import AgeSettings, GaitSettings, SgelaSettings
from simmc.settings.sgela import PLUS

TASK_TITLES = {"rev_rec": "Rev. Rec.", "pred": "Pred.", "sort": "Sort."}


def main(argv: list[str]) -> int:
    """Run `simmc sgela`; UserError for whatever the user can mend."""
    return training.main(METHOD, argv)


def age(argv: list[str]) -> int:
    """Run `simmc age`."""
    return training.main(AGE, argv)


def title(settings: GaitSettings) -> str:
    """The row's name: SGELA is that of reverse reconstruction; others name their tasks."""
    if not isinstance(settings, SgelaSettings):
        return "AGE"
    if settings.task == "rev_rec":
        return "SGELA"
    names = "Rev. Rec. Plus"
    if settings.task != PLUS:
        names = " + ".join(TASK_TITLES[task] for task in settings.tasks)
    return f"SGELA ({names})"


def model_size(settings: GaitSettings) -> str:
    """Parameters and operations of a training step."""
    skeleton = settings.spec.skeleton
    _, stored, flops = method.size_of(settings, skeleton)
    network = method.new_network(settings, skeleton, seeds.generators(0).weights)
    return (
        f"{title(settings)} on {settings.dataset}: {stored:,} parameters ({stored / 1e6:.2f}M) as "
        f"the papers count, {count_parameters(network):,} of which do something; "
        f"{flops / 1e9:.2f} GFLOP a training step of {settings.batch_size} windows of "
        f"{settings.length} frames (forward and backward, products alone)"
    )


def _method(settings: type[GaitSettings]) -> training.Method:
    return training.Method(
        title,
        settings,
        method.GaitTraining,
        scorer(method.new_network),
        model_size,
        explained=console.LAST_EPOCH,
        remarks=budget,
    )


METHOD, AGE = _method(SgelaSettings), _method(AgeSettings)
