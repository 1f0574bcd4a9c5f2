"""How Sphinx builds the site of the documentation; `python docs/build.py` runs it.

The source is the whole repository, so that links between the pages of all its folders hold in both.
"""

import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]  # the packages to read; figures.py

project = "spikformer-nas"
author = "the authors of spikformer-nas"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "results/README.md",
    "benchmarks/**.md",
    "examples/README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
]
exclude_patterns = ["docs/_build", "jupyter_execute", ".*", "results/[!R]*"]

highlight_language = "none"  # blocks without a language are shell commands, in one colour
default_role = "py:obj"  # names in docstrings' backticks are code, and links where they lead somewhere

# Pages are plain Markdown that also reads well in the repository.
myst_heading_anchors = 4
myst_enable_extensions: list[str] = []  # no maths: MathJax would be fetched from another server
nb_custom_formats = {".ipynb": "figures.read"}  # with scripts that draw the figures
nb_execution_mode = "off"  # `python docs/build.py --run` runs the tutorial and keeps what it printed

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_use_ivar = True  # attributes are listed where the class describes them, once
napoleon_attr_annotations = False  # their types stand in the signature, their units in parentheses
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "spikformer-nas"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False


def _readable(
    _app: Any, _what: str, _name: str, _object: object, _options: object, signature: Any, returns: Any
) -> Any:
    """A signature that Sphinx can read: it splits others, such as dataclasses' with factories, at every comma."""
    return signature.replace("<factory>", "...") if signature else signature, returns


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", _readable)
