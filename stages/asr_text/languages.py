"""Language codes as files write them: two letters in names, three in containers, dialects behind.

Matroska uses the bibliographic three-letter codes (`ger`), MP4 the terminological ones (`deu`),
YouTube two letters with a region or a word behind (`en-US`, `en-orig`).
"""

from __future__ import annotations

_TWO_LETTERS = {
    three: two
    for two, codes in {
        "ar": "ara", "bg": "bul", "bn": "ben", "ca": "cat", "cs": "ces cze", "da": "dan",
        "de": "deu ger", "el": "ell gre", "en": "eng", "es": "spa", "et": "est", "eu": "eus baq",
        "fa": "fas per", "fi": "fin", "fr": "fra fre", "he": "heb", "hi": "hin", "hr": "hrv",
        "hu": "hun", "hy": "hye arm", "id": "ind", "is": "isl ice", "it": "ita", "ja": "jpn",
        "ka": "kat geo", "ko": "kor", "lt": "lit", "lv": "lav", "mk": "mkd mac", "ms": "msa may",
        "nl": "nld dut", "no": "nor nob nno", "pl": "pol", "pt": "por", "ro": "ron rum",
        "ru": "rus", "sk": "slk slo", "sl": "slv", "sq": "sqi alb", "sr": "srp", "sv": "swe",
        "sw": "swa", "ta": "tam", "te": "tel", "th": "tha", "tr": "tur", "uk": "ukr", "ur": "urd",
        "vi": "vie", "zh": "zho chi",
    }.items()
    for three in codes.split()
}  # fmt: skip


def short_language(code: str | None) -> str | None:
    """Two letters where they exist: `eng`, `en-US` and `EN` are `en`; `und` is None."""
    if not code:
        return None
    head = code.lower().replace("_", "-").split("-")[0]
    return None if head in ("und", "mis", "zxx", "mul") else _TWO_LETTERS.get(head, head)
