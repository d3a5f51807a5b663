"""The methods that can be trained, by the name of their command. The only table of methods."""

from typing import Any

from simmc.engine.method import Method
from simmc.methods import (
    himpc,
    mgscr,
    recognition,
    sgela,
    simmc,
    simmc_uf,
    smsge,
    supervised,
    trackmc,
)

METHODS: dict[str, Method[Any]] = {
    method.settings.COMMAND: method
    for method in (
        simmc.METHOD,
        himpc.METHOD,
        trackmc.METHOD,
        simmc_uf.METHOD,
        sgela.AGE_METHOD,
        sgela.METHOD,
        mgscr.METHOD,
        smsge.METHOD,
        supervised.METHOD,
        recognition.METHOD,
    )
}
