"""One module a page; each has ``render()`` and keeps its reasoning in `workbench.parts`."""
