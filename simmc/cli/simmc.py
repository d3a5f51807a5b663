"""`simmc simmc` and `SimMC.py`: train SimMC, continue a run, or score a trained one."""

from simmc.data.experiment import inputs
from simmc.data.specs import skeleton_of
from simmc.engine import run as training
from simmc.methods import simmc as method
from simmc.models.simmc import SimMCNetwork, count_parameters, training_flops
from simmc.runs import seeds
from simmc.settings import SimMCSettings


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    return training.main(METHOD, argv)


def model_size(settings: SimMCSettings) -> str:
    """Parameters, and operations of a training step in the papers' way of counting."""
    width = inputs.width(skeleton_of(settings.spec), settings.input_parts)
    network = SimMCNetwork(width, settings.H, settings.D, generator=seeds.generators(0).weights)
    flops = training_flops(
        width, settings.H, settings.D, views=2, batch=settings.batch_size, length=settings.length
    )
    parameters = count_parameters(network)
    return (
        f"SimMC on {settings.dataset}: {parameters:,} parameters ({parameters / 1e6:.2f}M), "
        f"{flops / 1e9:.2f} GFLOP a training step of {settings.batch_size} windows of "
        f"{settings.length} frames (forward and backward, as the papers count)"
    )


METHOD = training.Method("SimMC", SimMCSettings, method.SimMC, method.score, model_size)
