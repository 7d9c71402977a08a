"""How Sphinx builds the documentation: ``make site``."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx

from airflow_provider_claude_code import __version__

project = "airflow-provider-claude-code"
author = "The airflow-provider-claude-code contributors"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]

# GitHub renders the pages as well, so they use plain Markdown and link to headings as GitHub does.
myst_heading_anchors = 4

# What is copied of a console are the commands.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"

html_theme = "furo"
html_title = f"Claude Code provider for Airflow {version}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_js_files = ["tables.js"]
html_show_copyright = False
html_theme_options = {
    "source_repository": "https://github.com/airflow-provider-claude-code/airflow-provider-claude-code/",
    "source_branch": "main",
    "source_directory": "docs/",
}


def show_images_at_full_width(_: Sphinx, doctree: nodes.document) -> None:
    """Give each image a width, since Sphinx links those that have one to the image itself, for readers to enlarge."""
    for image in doctree.findall(nodes.image):
        image["width"] = "100%"


def setup(app: Sphinx) -> None:
    """Take part in the build."""
    app.connect("doctree-read", show_images_at_full_width)
