"""How the manual's site is made; `make docs` does it. What it needs to know of Perdure is in `tools/manual`."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import perdure  # noqa: E402

project = "Perdure"
author = "the Perdure authors"
copyright = author
release = perdure.__version__
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "tools.manual.site",
]
exclude_patterns = ["_static", "results"]
root_doc = "index"
nitpicky = True
smartquotes_action = "D"  # dashes only: "" is a text of no length in our docstrings, and no pair of quotation marks
suppress_warnings = ["myst.header"]  # a heading that skips a level, as where CONTRIBUTING.md is included

myst_enable_extensions = ["attrs_block", "fieldlist"]
myst_heading_anchors = 4
myst_all_links_external = False

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autoclass_content = "both"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_use_rtype = False
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "Perdure"
html_theme_options = {  # of the drawings; the other colours are the theme's
    "light_css_variables": {"drawing-good": "#0f766e", "drawing-miss": "#c2410c"},
    "dark_css_variables": {"drawing-good": "#2dd4bf", "drawing-miss": "#fb923c"},
}
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
pygments_style = "friendly"
autodoc_type_aliases = {"JsonValue": "JsonValue", "JsonObject": "JsonObject"}
