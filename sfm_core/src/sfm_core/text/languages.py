"""Which analysis a language gets, and the English stop list."""

from __future__ import annotations

from functools import lru_cache

from Stemmer import algorithms

__all__ = ["ENGLISH", "STOP_WORDS", "algorithm_of"]

ENGLISH = "english"

# ISO 639-1 codes of the Snowball algorithms, so that either name may be configured.
_CODES = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "eo": "esperanto", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish",
    "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian",
    "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch", "no": "norwegian", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil",
    "tr": "turkish", "yi": "yiddish",
}  # fmt: skip

# Function words, the rests of contractions ("don", "ll") and the question words, which tell nothing about a content.
STOP_WORDS = frozenset(
    """
    a an the this that these those such some any each few more most other no nor not only own same too very just i me
    my myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it
    its itself they them their theirs themselves what when where which while who whom whose why how am is are was were
    be been being do does did doing have has had having can could might must shall should will would and but or if
    because as until than so then once here there both all again further get got about above after against at before below
    between by down during for from in into of off on out over through to under up with now s t d m ll re ve don
    """.split()  # noqa: SIM905
)


@lru_cache(maxsize=64)
def algorithm_of(language: str) -> str | None:
    """Return the Snowball algorithm for a language's name or ISO 639-1 code, None when there is none."""
    name = language.strip().lower()
    name = _CODES.get(name, name)
    return name if name in algorithms() else None
