"""`simmc himpc` and `Hi-MPC.py`: train Hi-MPC, continue a run, or score a trained one."""

from simmc.engine import run as training
from simmc.methods import himpc as method
from simmc.models.himpc import hierarchical_flops
from simmc.models.simmc import count_parameters
from simmc.runs import seeds
from simmc.settings import HiMPCSettings


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    return training.main(METHOD, argv)


def model_size(settings: HiMPCSettings) -> str:
    """Parameters, and operations of a training step in the papers' way of counting."""
    skeleton = settings.spec.skeleton
    network = method.new_network(settings, skeleton, seeds.generators(0).weights)
    parameters, heads = count_parameters(network), settings.M * settings.H**2
    flops = hierarchical_flops(
        list(method.level_widths(settings, skeleton).values()),
        settings.H,
        settings.D,
        settings.M,
        mining=settings.mining != "none",
        batch=settings.batch_size,
        length=settings.length,
    )
    return (
        f"Hi-MPC on {settings.dataset}: {parameters:,} parameters ({parameters / 1e6:.2f}M; heads "
        f"{heads:,} a level), {flops / 1e9:.2f} GFLOP a training step of {settings.batch_size} "
        f"windows of {settings.length} frames (forward and backward, as the papers count, less the "
        "products with prototypes)"
    )


METHOD = training.Method("Hi-MPC", HiMPCSettings, method.HiMPC, method.score, model_size)
