"""What a site itself says of its series, by their names and kernels; it overrules what words claim. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from ich_node.core.instances import InstanceFacts


class CountsAs(StrEnum):
    """What a site says that a series is."""

    HEAD = "head"
    OTHER = "other"  # another part of the body
    PREFERRED = "preferred"  # before its twins, where it can be read
    DERIVED = "derived"
    CONTRAST = "contrast"
    BONE = "bone"


@dataclass(frozen=True, kw_only=True)
class SeriesRule:
    """Series whose words match every pattern given (* and ?, upper or lower case), and what they count as."""

    counts_as: CountsAs
    description: str = ""
    protocol: str = ""
    kernel: str = ""

    def matches(self, fact: InstanceFacts) -> bool:
        """Whether it speaks of the series of this instance; a rule without a pattern speaks of none."""
        pairs = (
            (self.description, fact.series_description),
            (self.protocol, fact.protocol),
            (self.kernel, fact.kernel),
        )
        given = [(pattern, words) for pattern, words in pairs if pattern]
        return bool(given) and all(_matches(words, pattern) for pattern, words in given)


def _matches(words: str, pattern: str) -> bool:
    plain = pattern.strip().casefold().replace("[", "[[]")  # only * and ? are signs: names have brackets
    return fnmatchcase(words.strip().casefold(), plain)


def counted_as(fact: InstanceFacts, rules: Iterable[SeriesRule]) -> frozenset[CountsAs]:
    """Collect what the site says of a series."""
    return frozenset(rule.counts_as for rule in rules if rule.matches(fact))
