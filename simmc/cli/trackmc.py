"""`simmc trackmc`: train our own method, continue a run, or score a trained one."""

from simmc.data.experiment import inputs
from simmc.data.experiment.load import Experiment
from simmc.data.specs import skeleton_of
from simmc.engine import run as training
from simmc.methods import trackmc as method
from simmc.models.simmc import count_parameters
from simmc.runs import seeds
from simmc.settings import Resolved, TrackMCSettings
from simmc.settings.trackmc import MERGE, OFF

FEWEST = 5  # recordings for each neighbour of a part, below which merging is not safe
EXPLAINED = {
    "paper": "paper protocol: the epoch with the best probe top-1 (it has seen the test)",
    "label_free": "label-free protocol: the last epoch, no identity, probe or gallery decides",
}


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    return training.main(METHOD, argv)


def title(settings: TrackMCSettings) -> str:
    """The name in tables: windows alone and windows with recordings are two tiers."""
    tier = "windows only" if settings.recordings == OFF else f"recordings: {settings.recordings}"
    return f"TrackMC ({tier})"


def model_size(settings: TrackMCSettings) -> str:
    """Parameters of the network."""
    width = inputs.width(skeleton_of(settings.spec), settings.input_parts)
    network = method.new_network(settings, width, seeds.generators(0).weights)
    parameters = count_parameters(network)
    return f"TrackMC on {settings.dataset}: {parameters:,} parameters ({parameters / 1e6:.2f}M)"


def remarks(resolved: Resolved[TrackMCSettings], data: Experiment) -> list[str]:
    """Where there are too few recordings to tell one person's from another's by density."""
    settings = resolved.settings
    if settings.recordings != MERGE:
        return []
    count = int(method.tracks_of(data.train, settings).max(initial=-1)) + 1
    few = FEWEST * settings.k1
    if count >= few:
        return []
    return [
        f"only {count} training recordings: with fewer than about {few} (--k1 {settings.k1}), "
        "merge takes neighbours for one person that are not; --recordings positives is the safe "
        "choice (docs/method.md)"
    ]


METHOD = training.Method(
    title,
    TrackMCSettings,
    method.TrackMC,
    method.score,
    model_size,
    explained=EXPLAINED,
    remarks=remarks,
)
