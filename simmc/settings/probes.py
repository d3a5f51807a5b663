"""Datasets and probes by their proper names, and the presets that belong to them."""

from collections.abc import Mapping
from typing import Any

from simmc.data import specs
from simmc.data.specs import DatasetSpec
from simmc.errors import UserError


def dataset_and_probe(values: Mapping[str, Any]) -> tuple[str, str]:
    """Dataset and probe of flat values, as the table spells them where it has them."""
    if not specs.known(values["dataset"]):
        return values["dataset"], values["probe"]
    return chosen_probe(specs.get(values["dataset"]), values["probe"], values["probe_type"])


def presets_of_probe(values: Mapping[str, Any]) -> list[str]:
    """`<DATASET>_<probe>`, then `<DATASET>_probe`: the KS20 views have none of their own."""
    dataset, probe = dataset_and_probe(values)
    return [f"{dataset}_{probe}", f"{dataset}_probe"]


def chosen_probe(spec: DatasetSpec, probe: str, probe_type: str) -> tuple[str, str]:
    """Dataset and probe by their proper names.

    CASIA_B and the view protocol of KS20 name probe and gallery at once ("nm.nm", "0.30"), with
    `--probe_type` or `--probe`; such a pair is returned as the probe.
    """
    pairs = _pairs(spec.name)
    if probe_type and not pairs:
        raise UserError(
            f"--probe_type {probe_type} is for CASIA_B and KS20; with {spec.name} use --probe: "
            f"{', '.join(spec.probes)}."
        )
    plain = probe.casefold() == "probe"
    if probe_type and not plain and probe != probe_type:
        raise UserError(
            f"--probe {probe} and --probe_type {probe_type} disagree; give one of them."
        )
    wanted = probe_type or ("nm.nm" if spec.name == "CASIA_B" and plain else probe)
    allowed = dict.fromkeys((*spec.probes, *pairs))
    for name in allowed:
        if name.casefold() == wanted.casefold():
            return spec.name, name
    flag = "--probe_type" if probe_type else "--probe"
    raise UserError(
        f"{flag} {wanted!r} is not possible with {spec.name}; allowed: {', '.join(allowed)}."
    )


def _pairs(dataset: str) -> tuple[str, ...]:
    """Probe.gallery pairs of a dataset; none for most."""
    views = tuple(specs.BY_VIEW[dataset].gallery_of) if dataset in specs.BY_VIEW else ()
    return (*specs.CASIA_PROBES, *views) if dataset == "CASIA_B" else views
