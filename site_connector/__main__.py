"""``python -m site_connector``: the commands of ``tessera site``."""

from site_connector.cli import site_app

if __name__ == "__main__":
    site_app(prog_name="tessera site")
