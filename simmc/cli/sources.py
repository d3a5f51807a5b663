"""What the commands of the source models say before a training."""

from simmc.config import Resolved, SourceSettings, resolve


def budget(resolved: Resolved[SourceSettings]) -> list[str]:
    """What the small budget leaves out."""
    settings = resolved.settings
    if settings.budget == "full":
        return []
    where = ["--dataset", settings.dataset, "--probe", settings.probe]
    where += ["--length", str(settings.length), "--data_root", settings.data_root]
    full = resolve(type(settings), where).settings.epochs
    return [
        f"--budget cpu: {settings.epochs} epochs in place of the {full} that were published; the "
        "numbers below are those of a shorter training."
    ]
