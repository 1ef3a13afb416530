"""The characters that the recogniser knows: a character's place is its class, the CTC blank is one more, the last."""

_LATIN = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ASCII = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_CZECH_SLOVAK = "áčďéěíňóřšťúůýžÁČĎÉĚÍŇÓŘŠŤÚŮÝŽľĺŕäôĽ"
_GERMAN_FRENCH = "öüßÄÖÜàâçèêëîïùûœæÀÂÇÈÊËÎÏÔÙÛŒÆ"
_POLISH = "ąćęłńśźżĄĆĘŁŃŚŹŻ"
_MARKS = "„“”‚‘’«»›‹–—…§†°•×½¼€£ſ"

CHARACTERS = _LATIN + _ASCII + _CZECH_SLOVAK + _GERMAN_FRENCH + _POLISH + _MARKS
"""Never reorder: trained weights depend on it."""
BLANK = len(CHARACTERS)
INDEX = {character: index for index, character in enumerate(CHARACTERS)}
