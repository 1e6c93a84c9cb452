"""File names that programs stumble over."""

from __future__ import annotations

import os
import unicodedata

STRANGE_NAMES = {
    "emoji": "🐜.jpg",
    "right to left": "\u202eنملة.jpg",
    "blanks, quotes and commas": ' "a, b" .jpg',
    "line break": "two\nlines.jpg",
    "tab and escape": "\t\x1b[31m.jpg",
    "leading equals sign": "=1+1.jpg",
    "leading minus sign": "-rf.jpg",
    "leading number sign": "#1.jpg",
    "backslashes": "a\\..\\secret.jpg",
    "percent signs": "%2e%2e%2fsecret.jpg",
    "255 bytes": "é" * 125 + "x.jpg",
    "not UTF-8": os.fsdecode(b"caf\xe9\xff.jpg"),
    "composed": unicodedata.normalize("NFC", "é.jpg"),
    "decomposed": unicodedata.normalize("NFD", "é.jpg"),
}
