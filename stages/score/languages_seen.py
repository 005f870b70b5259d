"""Which language a text is in: by its script, and within Latin script by its commonest words.

Fifty function words of a language make up almost half of anything written in it, so a few
sentences decide between the languages listed, and nothing has to be downloaded. It does not know
other languages in Latin script (they come out as None, or rarely as a relative), and a text under
four words is too little; recipes that need finer answers name a model's language instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_COMMON = {
    "en": "the of and to in is that it was for on are with as at be this have from or by not but"
    " what all were we when your can said there an they which you he she his her i my will our so"
    " into do if up over no than been has had does their them because very would just its how"
    " some out then now where about who these us",
    "de": "der die und in den von zu das mit sich des auf ist im dem nicht ein eine als auch es"
    " an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem einen so zum"
    " war haben nur oder aber vor zur bis mehr durch man sein wurde ich wir ihr mich mir",
    "fr": "le la les de des et un une du en est que qui dans pour pas sur au plus par avec ce il"
    " elle ne se sont je nous vous mais ou son sa ses aux cette ont tout comme fait bien leur"
    " même être c'est d'un qu'il très y te tu mon",
    "es": "de la que el en y los del se las por un para con no una su al lo como más pero sus le"
    " ya o este sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde"
    " todo nos durante todos uno les ni contra otros ese eso era fue es tiene te tu mi qué aquí",
    "it": "di che e la il un a per in una non è sono da con si come ma lo gli le dei del della al"
    " alla nel nella più questo anche se ha ho mi ci o su perché molto quando tutto era i",
    "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi"
    " ao ele das tem à seu sua ou ser quando muito há nos já está eu também só pelo pela até isso"
    " ela entre era depois sem mesmo aos ter seus quem nas me esse eles você",
    "nl": "de van het een en in is dat op te zijn met voor niet aan er om ook als dan maar bij of"
    " uit nog naar heeft hebben wordt door over ze zich hij ik je wat was deze die worden kan had"
    " we mijn dit hun geen veel",
}
_OWNERS: dict[str, list[str]] = {}
for _language, _words in _COMMON.items():
    for _word in _words.split():
        _OWNERS.setdefault(_word, []).append(_language)

_SCRIPTS = {
    "HANGUL": "ko", "CYRILLIC": "ru", "ARABIC": "ar", "DEVANAGARI": "hi", "GREEK": "el",
    "HEBREW": "he", "THAI": "th", "CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja",
}  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
LEAST_WORDS = 4
LEAST_SHARE = 0.15  # of words that are common in the language; measured texts hold 0.35 and more


def language_of(text: str) -> str | None:
    """Two-letter code of a text's likeliest language; None where nothing decides."""
    text = text[:20_000].casefold().replace("\u2019", "'")
    scripts: Counter[str] = Counter()
    for letter in text:
        if letter.isalpha():
            scripts[unicodedata.name(letter, "?").split(" ", 1)[0]] += 1
    letters = sum(scripts.values())
    if letters < 2:
        return None
    if scripts["HIRAGANA"] + scripts["KATAKANA"] >= 0.1 * letters:
        return "ja"  # Japanese is mostly Chinese characters with these between them
    script, count = scripts.most_common(1)[0]
    if script != "LATIN":
        return _SCRIPTS.get(script) if 2 * count > letters else None
    words = _WORD.findall(text)
    if len(words) < LEAST_WORDS:
        return None
    shares: Counter[str] = Counter()
    for word in words:
        for language in _OWNERS.get(word, ()):
            shares[language] += 1
    ranked = shares.most_common(2)
    if not ranked or ranked[0][1] < LEAST_SHARE * len(words):
        return None
    tie = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
    return None if tie else ranked[0][0]
