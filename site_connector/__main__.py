"""``python -m site_connector``: the commands of ``tessera site``."""

from governance.collection import collect_seldom
from site_connector.cli import site_app

if __name__ == "__main__":
    collect_seldom()
    site_app(prog_name="tessera site")
