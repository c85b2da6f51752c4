"""Reading a page that a test has made."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page holds: its text, its tags, and every attribute that could fetch something."""

    VOID = {"meta", "img", "br"}

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.links, self.open, self.classes = "", [], [], []
        self.feed(source)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "action", "data")]
        self.classes += [(tag, value) for name, value in attributes if name == "class"]

    def handle_startendtag(self, tag: str, attributes: list) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data
