#!/usr/bin/env python3
"""Arranges screenshots of the page tests in one picture: each page at desk and phone width, light and dark.

usage: contact_sheet.py SCREENSHOTS PICTURE

The tests `browser` and `hosted_browser` of tests/it keep the screenshots in target/tmp/screenshots."""
import html
import pathlib
import subprocess
import sys
import tempfile

# Title and name of each page, in the order of a user's way.
PAGES = [
    ("Sign-in", "hosted-sign-in-en"),
    ("Providers", "presets"),
    ("A wrong password", "hosted-wrong-password-en"),
    ("Sign-up, in Arabic", "hosted-sign-up-ar"),
    ("The code", "hosted-code-en"),
    ("A new password", "hosted-reset-en"),
    ("A second factor", "factor"),
    ("An authenticator app", "factor-set-up"),
    ("Recovery codes", "recovery-codes"),
    ("In its own look", "branded-sign-in"),
    ("A link was sent", "branded-waiting"),
    ("Consent", "consent"),
    ("The code of a device", "device-code"),
    ("A device", "device"),
    ("Apps", "home"),
    ("Account", "account"),
    ("Sessions and apps with access", "apps-with-access"),
    ("Sign-out", "sign-out"),
    ("Access denied", "access-denied"),
]
LOOKS = ["desk-light", "desk-dark", "phone-light", "phone-dark"]
STYLE = """
body { margin: 12px; font: 13px sans-serif; background: #888; color: #fff; display: grid; gap: 12px;
  grid-template-columns: repeat(4, 1fr); }
figure { margin: 0; } div { display: flex; gap: 4px; align-items: flex-start; } figcaption { margin-bottom: 4px; }
.desk { width: 160px; height: 112px; object-fit: cover; object-position: top; }
.phone { width: 64px; height: 128px; object-fit: cover; object-position: top; }
"""


def main():
    folder, picture = (pathlib.Path(text).resolve() for text in sys.argv[1:3])
    figures = []
    for title, page in PAGES:
        files = [folder / f"{page}-{look}.png" for look in LOOKS]
        missing = [file.name for file in files if not file.exists()]
        if missing:
            sys.exit(f"{folder} lacks {', '.join(missing)}\n  help: run `make test TESTS=\"--test it browser\"`")
        images = [f'<img class="{look.split("-")[0]}" src="{file.as_uri()}">' for look, file in zip(LOOKS, files)]
        figures.append(f"<figure><figcaption>{html.escape(title)}</figcaption><div>{''.join(images)}</div></figure>")
    with tempfile.TemporaryDirectory() as work:
        sheet = pathlib.Path(work) / "sheet.html"
        sheet.write_text(f"<!DOCTYPE html><meta charset=utf-8><style>{STYLE}</style>{''.join(figures)}")
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
        # Four pages a row.
        height = 12 + 162 * -(-len(PAGES) // 4)
        command = ["chromium", *options, f"--window-size=1930,{height}", f"--screenshot={picture}", sheet.as_uri()]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


main()
