"""The script Streamlit runs for every view: who is looking, which pages they have, then the page itself."""

from __future__ import annotations

import streamlit as st

from workbench.context import workbench
from workbench.parts.shell import ICON, show_signed_out, sidebar, signed_in_person, style
from workbench.parts.sitemap import pages_for
from workbench.parts.states import guarded

bench = workbench()
st.set_page_config(page_title=bench.settings.title, page_icon=str(ICON), layout="wide")
style()
person = signed_in_person(bench)
if person is None:
    show_signed_out()
    st.stop()
current = st.navigation(pages_for(bench.settings, person), position="sidebar")
sidebar(bench, person)
guarded(current.run)
