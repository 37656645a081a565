"""An attack as a sequence of messages, for people.

in: an Attack; out: lines of text. `e` is the attacker, on every line that he is on the way.
"""

from tests.handshake.model.ends import EXTENSIONS, sent
from tests.handshake.model.network import End
from tests.handshake.model.search import Attack, Move
from tests.handshake.model.terms import ACCEPTOR, DIALLER, Hello
from tests.handshake.model.world import E, identity_of


def tell(attack: Attack) -> list[str]:
    """The whole story; each connection has a number, such as 1-3: between sessions 1 and 3."""
    return _Story(attack).lines


class _Story:
    def __init__(self, attack: Attack) -> None:
        self.attack, self.lines = attack, list[str]()
        self.by_number = {end.number: end for end in attack.network if end is not None}
        ends = self._involved()
        for end in ends:
            if end.role == DIALLER:
                self._dials(end)
        for end in ends:
            if end.role == ACCEPTOR:
                self._is_called(end)
        for move in attack.moves:
            self._move(move)
        self.lines.append("broken: " + "; ".join(what.value for what in attack.broken))

    def _involved(self) -> list[End]:
        """The ends that hear something, and those whose HELLO somebody hears."""
        heard = [session.choice.heard for session in self.attack.sessions if session.choice is not None]
        nonces = {hello.nonce for hello in heard}
        ends = self.by_number.values()
        return [e for e in ends if self.attack.sessions[e.number].choice is not None or sent(e).nonce in nonces]

    def _dials(self, end: End) -> None:
        how = f"session {end.number + 1}: {end.own} dials {end.peer} ({end.kind.value}, {end.group})"
        if end.partner is not None:
            answers = self.by_number[end.partner].own
            where = f"and reaches {answers}" if answers != end.peer else ""
            self.lines.append(f"{how} {where}".rstrip() + (", e inside the connection" if end.open else ""))
        else:
            self.lines.append(f"{how}, and e answers with the {end.shown_key}")
        self._say(end.own, end, f"HELLO {_text(sent(end))}")

    def _is_called(self, end: End) -> None:
        if end.partner is None:
            how = f"e dials {end.own} ({end.kind.value}, {end.group}) with the {end.shown_key}"
            self.lines.append(f"session {end.number + 1}: {how}")
        elif (caller := self.by_number[end.partner]).own != end.shown_key.removeprefix("TLS key of "):
            self.lines.append(f"e puts the {end.shown_key} in the place of that of {caller.own}")
        choice = self.attack.sessions[end.number].choice
        if choice is None:
            self._say(E, end, f"HELLO, some claim of {end.peer}", to=end.own)
        else:
            self._deliver(end, choice.heard)
        self._say(end.own, end, f"HELLO {_text(sent(end))}")

    def _move(self, move: Move) -> None:
        end, choice = self.by_number[move.number], self.attack.sessions[move.number].choice
        assert choice is not None
        if not move.done:
            self._deliver(end, choice.heard)
            self._say(end.own, end, f"AUTH by the {identity_of(end.own)}")
            return
        how = "made by e" if move.forged else "as it was made"
        self._say(self._from(end), end, f"AUTH by the {choice.heard.identity}, {how}", to=end.own)
        if end.role == ACCEPTOR:
            self._say(end.own, end, f"AUTH by the {identity_of(end.own)}")
        version = min(sent(end).versions, choice.heard.versions)
        seen = f"{choice.heard.own}, {choice.heard.identity}, version {version}, extensions {choice.heard.extensions}"
        self.lines.append(f"session {end.number + 1} of {end.own} is done, with {seen}")

    def _deliver(self, end: End, heard: Hello) -> None:
        origin = self._origin(end, heard)
        changed = [f for f in Hello._fields if origin is not None and getattr(heard, f) != getattr(sent(origin), f)]
        if origin is None:
            note = "made by e"
        elif changed:
            note = f"that of session {origin.number + 1}, other: {', '.join(changed)}"
        else:
            note = f"that of session {origin.number + 1}"
        self._say(self._from(end), end, f"HELLO {_text(heard)}  ({note})", to=end.own)

    def _origin(self, end: End, heard: Hello) -> End | None:
        """Whose HELLO this is, in all or in part."""
        theirs = [other for other in self.by_number.values() if sent(other).identity == heard.identity]
        if not theirs or heard.identity in self.attack.setting.signable:
            return None
        # with equal likeness: one in the other role, then the end at the other end of the connection
        return max(theirs, key=lambda o: (_alike(sent(o), heard), o.role != end.role, o.number == end.partner))

    def _from(self, end: End) -> str:
        return E if end.open or end.partner is None else self.by_number[end.partner].own

    def _say(self, sender: str, end: End, what: str, to: str | None = None) -> None:
        if to is None:
            to = E if end.open or end.partner is None else self.by_number[end.partner].own
        self.lines.append(f"  {sender} -> {to}  [{end.connection}]  {what}")


def _alike(one: Hello, other: Hello) -> int:
    return sum(x == y for x, y in zip(one, other, strict=True))


def _text(hello: Hello) -> str:
    offers = "extension x" if hello.extensions == EXTENSIONS else "no extensions"
    names = f"versions 1-{hello.versions}, {hello.own} to {hello.wanted}"
    return f"{{{names}, {hello.identity}, {hello.nonce}, {offers}}}"
