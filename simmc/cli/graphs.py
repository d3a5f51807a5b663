"""`simmc mgscr` and `simmc smsge`: train, continue a run, or score a trained one."""

from collections.abc import Callable

from simmc.cli import console
from simmc.cli.sources import budget
from simmc.engine import run as training
from simmc.engine.pretext import scorer
from simmc.methods import mgscr as mgscr_method
from simmc.methods import smsge as smsge_method
from simmc.models.graph_size import IDENTITIES
from simmc.models.simmc import count_parameters
from simmc.runs import seeds
from simmc.settings import GraphSettings, MGSCRSettings, SMSGESettings

# the pretext task alone: the papers' rows of MG-SCR have learned identities as well
MGSCR_TITLE, SMSGE_TITLE = "MG-SCR (SSP)", "SM-SGE"


def mgscr(argv: list[str]) -> int:
    """Run `simmc mgscr`; UserError for whatever the user can mend."""
    return training.main(MGSCR, argv)


def smsge(argv: list[str]) -> int:
    """Run `simmc smsge`."""
    return training.main(SMSGE, argv)


def _model_size(
    title: str, size_of: Callable[..., tuple[int, int, int]], new_network: Callable
) -> Callable[[GraphSettings], str]:
    def said(settings: GraphSettings) -> str:
        """Parameters and operations of a training step."""
        skeleton = settings.spec.skeleton
        _, counted, flops = size_of(settings, skeleton, settings.dataset)
        network = new_network(settings, skeleton, seeds.generators(0).weights)
        head = IDENTITIES.get(settings.dataset)
        judged = f"a head for {head} identities" if head else "a head for no identities"
        return (
            f"{title} on {settings.dataset}: {counted:,} parameters ({counted / 1e6:.2f}M) as the "
            f"papers count, with {judged}; {count_parameters(network):,} without it; "
            f"{flops / 1e9:.2f} GFLOP a training step of {settings.batch_size} windows of "
            f"{settings.length} frames (pretext task and recognition, products alone)"
        )

    return said


MGSCR = training.Method(
    MGSCR_TITLE,
    MGSCRSettings,
    mgscr_method.MGSCRTraining,
    scorer(mgscr_method.new_network),
    _model_size("MG-SCR", mgscr_method.size_of, mgscr_method.new_network),
    explained=console.LAST_EPOCH,
    remarks=budget,
)
SMSGE = training.Method(
    SMSGE_TITLE,
    SMSGESettings,
    smsge_method.SMSGETraining,
    scorer(smsge_method.new_network),
    _model_size("SM-SGE", smsge_method.size_of, smsge_method.new_network),
    explained=console.LAST_EPOCH,
    remarks=budget,
)
