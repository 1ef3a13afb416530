"""The characters that the recogniser knows: a character's place is its class, the CTC blank is one more, the last."""

_LATIN = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ASCII = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_CZECH_SLOVAK = "áčďéěíňóřšťúůýžÁČĎÉĚÍŇÓŘŠŤÚŮÝŽľĺŕäôĽ"
_GERMAN_FRENCH = "öüßÄÖÜàâçèêëîïùûœæÀÂÇÈÊËÎÏÔÙÛŒÆ"
_POLISH = "ąćęłńśźżĄĆĘŁŃŚŹŻ"
_MARKS = "„“”‚‘’«»›‹–—…§†°•×½¼€£ſ"
_MORE_LANGUAGES = "ñÑòÒìÌ¡¿ªºåÅøØãÃõÕőŐűŰÿ"
_RAISED = "¹²³⁴⁵⁶⁷⁸⁹⁰ᵉʳˢᵒ"
_OLD_PRINT = "ẽũĩ\u0303\u0364ꝛ⁊ꝰꝑꝓꝗꝙ¶·"

CHARACTERS = (
    _LATIN + _ASCII + _CZECH_SLOVAK + _GERMAN_FRENCH + _POLISH + _MARKS + _MORE_LANGUAGES + _RAISED + _OLD_PRINT
)
"""Never reorder: trained weights depend on it."""
BLANK = len(CHARACTERS)
INDEX = {character: index for index, character in enumerate(CHARACTERS)}
