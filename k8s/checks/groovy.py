"""Whether a Jenkinsfile is Groovy, by a grammar of the language; Jenkins itself is not at hand.

The grammar goes on behind an error, as editors want it, and leaves a node for it; any such node is a finding.
"""

from collections.abc import Iterator

import dekobon_tree_sitter_groovy
import tree_sitter

SHOWN = 40


def findings(text: str) -> list[str]:
    """Each place that is no Groovy: line, column and how it begins."""
    grammar = tree_sitter.Language(dekobon_tree_sitter_groovy.language())
    tree = tree_sitter.Parser(grammar).parse(text.encode())
    return [*_errors(tree.root_node)]


def _errors(node: tree_sitter.Node) -> Iterator[str]:
    if node.is_error or node.is_missing:
        line, column = node.start_point
        found = (node.text or b"").decode(errors="replace")[:SHOWN].split("\n")[0]
        what = f"{node.type} is missing" if node.is_missing else f"not understood from {found!r} on"
        yield f"line {line + 1}, column {column + 1}: {what}"
    elif node.has_error:
        for child in node.children:
            yield from _errors(child)
