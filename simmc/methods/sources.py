"""The source models, by the names that the papers and `--source` use."""

from simmc.methods import mgscr, sgela, smsge
from simmc.methods.pretext import Source

SOURCES: dict[str, Source] = {
    source.name: source for source in (sgela.AGE, sgela.SGELA, mgscr.SOURCE, smsge.SOURCE)
}
