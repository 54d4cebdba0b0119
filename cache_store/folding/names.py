"""Names that are other words in lower case: Turkey and turkey, Windows and windows.

A name that is missing here meets the word; one too many only costs a repeated answer.
"""

from __future__ import annotations


def _each(words: str) -> frozenset[str]:
    return frozenset(words.split())


# kept in any writing: a picture rarely shows the other thing, so this costs little
ALWAYS = _each(
    "polish turkey china japan chile jordan chad guinea hungary cologne bologna lima manila"
    " panama tangier catholic swede democrat titanic"
)
# kept where a text has both cases; in a title or in capitals nothing tells them from the word
IN_MIXED_CASE = _each(
    "access alphabet amazon amber apple aries art august autumn axe basil bath beetle bible bill"
    " block boxer buffalo bush cancer chase cherry chrome clay cliff concord conservative cook"
    " cork crystal daisy dale dawn dean dove drake drew duke earl earth edge excel faith finn"
    " focus ford fox frank gain galaxy gap gene ginger go god grace grant green guardian guy"
    " hamlet hazel heath holly hope house iris ivy jack jade jaguar jasmine java jean job josh joy"
    " june king kitty labor labour lance lent liberal lily march mark mass max may mercury meta"
    " miles mini mobile moon mustang nice nick notes numbers odyssey olive opera orange orthodox"
    " outlook pages pat pearl peter phoenix pierce pole post prince puma python ram ray reading"
    " republican rich rob rose ruby rust sandy shell signal sky slack square steam stone subway"
    " sue summer sun swift switch target teams telegram tide times unity victor violet visa will"
    " windows wolf wood woods woody word words"
    " he as in at no co be am me or"  # helium, arsenic, cobalt, Maine
)
# these begin a sentence as often as a name does: "Mark the dog"
BEGIN_SENTENCES = _each("may will mark read reading go name he as in at no be am me or")
