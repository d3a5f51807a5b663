"""`simmc supervised`: the references that learn identities, trained or scored."""

import torch

from simmc.data.experiment import inputs
from simmc.data.specs import skeleton_of
from simmc.engine import run as training
from simmc.methods import supervised as method
from simmc.models.simmc import count_parameters
from simmc.settings import SupervisedSettings

TITLES = {
    "encoder": "SimMC encoder (supervised)",
    "posegait": "PoseGait (supervised, our reading)",
}


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    return training.main(METHOD, argv)


def title(settings: SupervisedSettings) -> str:
    """The model's name in tables."""
    return TITLES[settings.model]


def model_size(settings: SupervisedSettings) -> str:
    """Parameters of the network; the classifier grows with the identities."""
    posegait = settings.model == "posegait"
    own = inputs.width(skeleton_of(settings.spec), settings.input_parts)
    width = method.D_PG_WIDTH if posegait else own
    sizes = [
        count_parameters(method.new_network(settings, width, classes, torch.Generator()))
        for classes in (1, 2)
    ]
    own = sizes[1] - sizes[0]
    return (
        f"{title(settings)} on {settings.dataset}: {sizes[0] - own:,} parameters "
        f"({(sizes[0] - own) / 1e6:.2f}M), and {own:,} more for each training identity"
    )


METHOD = training.Method(
    title,
    SupervisedSettings,
    method.Supervised,
    method.score,
    model_size,
    protocols=method.PROTOCOLS,
    labels="this network was trained on the identity labels of the training windows.",
)
