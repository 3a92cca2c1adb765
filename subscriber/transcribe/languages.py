"""The languages that Whisper models know, as they name them and as ISO 639-1 writes them."""

from __future__ import annotations

__all__ = ["LANGUAGES", "OPENAI_LANGUAGES", "iso_code"]

_TABLE = """
af afrikaans · am amharic · ar arabic · as assamese · az azerbaijani · ba bashkir · be belarusian · bg bulgarian
bn bengali · bo tibetan · br breton · bs bosnian · ca catalan,valencian · cs czech · cy welsh · da danish · de german
el greek · en english · es spanish,castilian · et estonian · eu basque · fa persian,farsi · fi finnish · fo faroese
fr french · gl galician · gu gujarati · ha hausa · haw hawaiian · he hebrew · hi hindi · hr croatian
ht haitian_creole,haitian · hu hungarian · hy armenian · id indonesian · is icelandic · it italian · ja japanese
jw javanese · ka georgian · kk kazakh · km khmer · kn kannada · ko korean · la latin · lb luxembourgish,letzeburgesch
ln lingala · lo lao · lt lithuanian · lv latvian · mg malagasy · mi maori · mk macedonian · ml malayalam · mn mongolian
mr marathi · ms malay · mt maltese · my myanmar,burmese · ne nepali · nl dutch,flemish · nn nynorsk · no norwegian
oc occitan · pa punjabi,panjabi · pl polish · ps pashto,pushto · pt portuguese · ro romanian,moldavian,moldovan
ru russian · sa sanskrit · sd sindhi · si sinhala,sinhalese · sk slovak · sl slovenian · sn shona · so somali
sq albanian · sr serbian · su sundanese · sv swedish · sw swahili · ta tamil · te telugu · tg tajik · th thai
tk turkmen · tl tagalog,filipino · tr turkish · tt tatar · uk ukrainian · ur urdu · uz uzbek · vi vietnamese
yi yiddish · yo yoruba · yue cantonese · zh chinese,mandarin
"""
_CODES = {
    name.replace("_", " "): code
    for entry in _TABLE.replace("\n", " · ").split(" · ")
    if entry.strip()
    for code, names in [entry.split()]
    for name in [code, *names.split(",")]
} | {"jv": "jw", "javanese": "jw"}

LANGUAGES = frozenset(_CODES.values())
"""The codes of all languages that Whisper models know."""

OPENAI_LANGUAGES = frozenset(
    """
    af ar az be bg bs ca cs cy da de el en es et fa fi fr gl he hi hr hu hy id is it ja kk kn ko lt lv mi mk mr ms ne
    nl no pl pt ro ru sk sl sr sv sw ta th tl tr uk ur vi zh
    """.split()  # noqa: SIM905 - a list of quoted pairs of letters reads worse
)
"""The languages that OpenAI's documentation lists for transcription (November 2026)."""


def iso_code(language: str | None) -> str | None:
    """The code of a language given by its name or code: the API answers `english`, a local server `en`.

    What nobody knows passes as it is, in small letters; nothing is None.
    """
    told = (language or "").strip().lower()
    return _CODES.get(told) or _CODES.get(told.partition("-")[0].partition("_")[0], told) or None
