"""HTML read into a tree, for tests that ask what is on a page."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "input", "hr", "img", "col"}


class Node:
    """An element: its tag, attributes, and what it holds."""

    def __init__(self, tag, attributes=(), parent=None):
        self.tag, self.attributes, self.parent, self.children = tag, dict(attributes), parent, []

    def __iter__(self):
        """The element and all within it."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child

    def all(self, tag=None, class_=None, **attributes):
        """The elements within that are such."""
        return [
            node
            for node in self
            if tag in (None, node.tag)
            and (class_ is None or class_ in (node.attributes.get("class") or "").split())
            and all(node.attributes.get(name) == value for name, value in attributes.items())
        ]

    def one(self, tag=None, class_=None, **attributes):
        """The only element within that is such."""
        found = self.all(tag, class_, **attributes)
        assert len(found) == 1, f"{len(found)} of {tag} {class_} {attributes}"
        return found[0]

    @property
    def text(self):
        """All text within."""
        return "".join(child.text if isinstance(child, Node) else child for child in self.children)

    @property
    def rows(self):
        """Of a table: the cells of its body, as text."""
        return [[cell.text for cell in row.children] for row in self.one("tbody").all("tr")]


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.root = self.now = Node("page")

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        node = Node(tag, attrs, self.now)
        self.now.children.append(node)
        if tag not in VOID:
            self.now = node

    def handle_startendtag(self, tag, attrs):
        self.now.children.append(Node(tag, attrs, self.now))

    def handle_endtag(self, tag):
        assert tag == self.now.tag, f"</{tag}> closes <{self.now.tag}>"
        self.now = self.now.parent

    def handle_data(self, data):
        self.now.children.append(data)


def read(page):
    """The tree of *page*, every element of which must be closed."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.now is reader.root, f"<{reader.now.tag}> is not closed"
    return reader.root
