"""`simmc supervised`: the references that learn identities, trained or scored."""

import torch

from simmc.cli import training
from simmc.config import SupervisedSettings
from simmc.data import inputs
from simmc.data.loaders import Experiment
from simmc.data.specs import skeleton_of
from simmc.errors import UserError
from simmc.methods import supervised as method
from simmc.methods.descriptors import lacking
from simmc.models.encoder import count_parameters

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


def load(settings: SupervisedSettings) -> Experiment:
    """The experiment, if it has the joints that the network needs."""
    if settings.model == "posegait" and (lack := lacking("D_PG", skeleton_of(settings.spec))):
        raise UserError(f"--model posegait: {lack}")
    return training.load(settings)


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
    load=load,
    labels="this network was trained on the identity labels of the training windows.",
)
