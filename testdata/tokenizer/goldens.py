#!/usr/bin/env python3
"""Writes testdata/tokenizer/goldens.jsonl: texts and their ids, by open_clip and transformers.

One JSON object a line:
  group  "plain" where every CLIP tokenizer agrees, otherwise what the text is about
  text   the text, one character a byte (latin-1), so that bytes that are not UTF-8 fit too
  ids    open_clip's SimpleTokenizer with OpenAI's names of the special tokens, no start and end
  hf     transformers' CLIPTokenizer, where it says something else (it repairs nothing and undoes no escapes)
  table  number of merges of a table that is cut short; absent for CLIP's own

Run from the repository's root; needs open_clip_torch, ftfy, regex and transformers. The versions used are in the first line.
"""
import json
import random
import sys
import unicodedata
from importlib.metadata import version

import ftfy
import regex
from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode
from transformers import CLIPTokenizer

SPECIAL = ["<|startoftext|>", "<|endoftext|>"]


def reference(merges=None):
    """OpenAI's tokenizer: open_clip's, with OpenAI's special tokens, with the whole table or the first few merges."""
    tok = SimpleTokenizer()
    table = list(tok.bpe_ranks)[:merges]
    letters = list(bytes_to_unicode().values())
    vocab = letters + [v + "</w>" for v in letters] + ["".join(m) for m in table] + SPECIAL
    tok.bpe_ranks = dict(zip(table, range(len(table))))
    tok.encoder = dict(zip(vocab, range(len(vocab))))
    tok.cache = {s: s for s in SPECIAL}
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tok.pat = regex.compile("|".join(map(regex.escape, SPECIAL)) + "|" + words, regex.IGNORECASE)
    return tok, table


clip, table = reference()
small, small_table = reference(3000)
hf = CLIPTokenizer(vocab=clip.encoder, merges=table, bos_token=SPECIAL[0], eos_token=SPECIAL[1])
rng = random.Random(1)


def pick(words, low, high):
    return [rng.choice(words) for _ in range(rng.randint(low, high))]


SUBJECTS = """a cat|an astronaut riding a horse|portrait of an old fisherman|the Eiffel Tower|a red sports car
a castle on a hill|two children's toys|a bowl of ramen|Mount Fuji at dawn|a steampunk airship|a girl with a pearl earring
a hummingbird|an abandoned spaceship|a cyberpunk street market|Darth Vader|a goldendoodle|a Victorian greenhouse""".replace("\n", "|").split("|")
STYLES = """highly detailed|8k|4k uhd|trending on artstation|oil on canvas|Unreal Engine 5|by Greg Rutkowski|studio lighting
35mm film|bokeh|f/1.8|ISO 100|cinematic lighting|masterpiece|best quality|sharp focus|HDR|art nouveau|ukiyo-e|low-poly
isometric|photo-realistic|depth of field|golden hour|volumetric fog|pastel colours|black & white|16:9|1girl|_underscored_
don't look back|they're smiling|we've been here|I'm the one|she'll see|he'd know|it's|y'all|rock 'n' roll|#wip|50% off|a+b=c""".replace("\n", "|").split("|")

plain = [
    "", " ", "a", "A", "cat", "a photo of a cat", "A Photo Of A CAT", "hello world!", "hello, world!!!", "C++ & C#",
    "it's", "IT'S", "it 's", "'s", "''s", "'sx", "don't", "DON'T", "we're they've I'm you'll he'd", "'re've'm'll'd", "o'clock",
    "rock'n'roll", "3.14159", "1234567890", "12,345.67", "2nd 3rd 4th", "x2", "100%", "$9.99", "a-b_c.d", "e=mc^2", "~!@#$%^*()",
    "(((masterpiece)))", "[low quality]", "<lora:x:1>", "{a|b}", "a\\(b\\)", "...", "?!?!", "--", "a,b,c", ",,,", ", ,", "http://example.com/a?b=c",
    "tab\there", "line\nbreak", "crlf\r\nline", "  many   spaces  ", "\n\n\t ", "the quick brown fox jumps over the lazy dog",
    "supercalifragilisticexpialidocious", "antidisestablishmentarianism", "zzzzzzzzzzzzzzzzzzzz", "a" * 300, "ab" * 200, "na " * 100,
    "pneumonoultramicroscopicsilicovolcanoconiosis", "<|startoftext|>", "<|endoftext|>", "a<|endoftext|>b", "<|startoftext|> a cat <|endoftext|>",
    "<|endoftext|", "<start_of_text>", "</w>", "a</w>", "embedding:EasyNegative", "1girl, solo, long_hair, looking_at_viewer",
    "caf\u00e9", "na\u00efve fa\u00e7ade", "M\u00fcnchen \u00fcber Stra\u00dfe", "\u0141\u00f3d\u017a", "\u010ce\u0161tina", "\u00c5ngstr\u00f6m",
    "\u041c\u043e\u0441\u043a\u0432\u0430 \u0437\u0438\u043c\u043e\u0439", "\u0391\u03b8\u03ae\u03bd\u03b1", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", "\u4e2d\u6587\u6d4b\u8bd5\u4e00\u53ea\u732b", "\ud55c\uad6d\uc5b4 \uace0\uc591\uc774",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22", "\u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8",
    "\U0001f600", "\U0001f600\U0001f600\U0001f600", "a\U0001f431b", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea",
    "1\ufe0f\u20e3", "\u2764\ufe0f", "\u2122\u00ae\u00a9", "\u20ac100", "\u00bd cup", "\u2167 chapters", "x\u00b2 + y\u00b3", "\u2460\u2461\u2462", "\u0661\u0662\u0663", "\u0967\u0968\u0969",
    "\u2014 \u2013 \u2026", "\u00ab guillemets \u00bb", "\u2192\u2190", "\u221a2 \u2248 1.414", "\u2669\u266a\u266b",
    "\U0001d504\U0001d505", "\u200bzero\u200bwidth", "soft\u00adhyphen", "\u202eright-to-left", "\u1680ogham", "a\u2003b\u00a0c\u2009d\u205fe",
]
plain += [", ".join(pick(SUBJECTS, 1, 2) + pick(STYLES, 2, 30)) for _ in range(60)]
plain += ["".join(pick([chr(c) for c in range(32, 127) if chr(c) not in "&<"], 1, 60)) for _ in range(40)]

other = {
    "special": ["<|EndOfText|>", "a<|STARTOFTEXT|>b", "!<|endoftext|>", "<<|endoftext|>>", "<|endoftext|><|endoftext|>"],
    "case": ["\u0130stanbul", "I\u0130i\u0131", "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3", "\u03a3", "\u03a3\u03a3", "\u0391\u03a3.", "\u0391\u03a3\u0391", "\u0391\u0301\u03a3", "\u0391\u03a3\u0301", "\u0391\u03a3'\u0391", "\u0391.\u03a3", ".\u03a3", "\u0391\u03a3 \u03a3\u0391", "\u0391\u03a3\u00ad", "\u0391\u03a3:\u0392",
             "\u00df\u1e9e", "\u01c5\u01c8", "\u2126\u212a\u212b", "\u24b6\u24b7", "\u2160\u2161", "\U00010400\U00010428", "\u13a0\uab70", "\u1f88\u1fbc", "\u0345\u03b1", "a\u0345b", "J\u030c", "'\u017fx", "'\u017f", "it'\u017f", "\u1e9b\u0323", "\u10a0\u1c90"],
    "escapes": ["a &amp; b", "a&ampb", "&amp;amp;", "&amp;amp;amp;lt;", "&lt;b&gt;", "&ltb", "&quot;q&quot;", "&apos;s", "it&#39;s", "it&#x27;s", "&#X27;", "&#39", "&#", "&#;", "&#x;", "&#x", "&", "&&", "& &", "&;", "&a;", "&nosuch;", "&notit;",
                "&notin;", "&eacute;", "&Eacute;", "&EACUTE;", "&eacute", "P&EACUTE;REZ", "BUNDESSTRA&SZLIG;E", "&nTILDE;", "&NTILDE;", "&GTDOT;", "&hellip;", "&nbsp;x&nbsp;", "&copy2024", "&copy;2024", "&#128512;", "&#x1F600;", "&#0;", "&#1;x", "&#11;x", "&#127;x",
                "&#128;", "&#133;x", "&#x80;", "&#x81;", "&#xD800;", "&#x110000;", "&#99999999999999999999;", "&#00065;", "&#59;", "&#12ab;", "&#65b;", "&semi;", "&SEMI;", "&amp;semi;", "&nGt; &nLt; &nGtv;", "&CounterClockwiseContourIntegral;", "&bigoplus;&Bopf;", "x&lt y", "<p>&amp;amp;lt;</p>", "<&#8217;",
                "line &amp;amp;amp;gt;\n<\n&amp;amp;amp;gt;", "<|start&#111;ftext|>", "&lt;|endoftext|&gt;", "a&b;c", "&\u00e9;", "&am\u0000p;lt;", "\uff06amp\uff1b", "&fjlig;", "&ThickSpace;x", "&ffllig; &FFLIG;", "&zwj;", "&TRADE;", "&frac12;&FRAC12;", "&SUP2;", "&Aacute;&AACUTE;"],
    "repair": ["\u2018single\u2019 \u201cdouble\u201d", "it\u2019s", "don\u2019t", "\u02bchamza", "\u201elow\u201c", "\ufb01ne \ufb02ow o\ufb03ce", "\ufb05 \ufb06", "\u0132\u0133", "\u0149", "\u01c4\u01f1", "\uff26\uff55\uff4c\uff4c\u3000\uff37\uff49\uff44\uff54\uff48", "\uff11\uff12\uff13", "\uff8a\uff9d\uff76\uff78", "\uff76\uff9e", "\uffe5\uff01",
               "cafe\u0301", "A\u030angstro\u0308m", "e\u0301\u0302\u0303", "\u1112\u1161\u11ab", "\u212b", "\ufeffbom", "a\u0000b", "a\u0007b", "a\u000bb", "a\u001cb", "a\u007fb", "\u206aa", "\ufffca", "\u001b[31mred\u001b[0m", "\u001b[31", "\u001b[;m", "\u001b\u001b[1m[0m", "a\u2028b\u2029c", "a\rb", "a\fb", "a\u3000b", "x\u0009\u000d\u000ay"],
    "marks": ["Z\u0351\u0343a\u0321\u0345lgo", "\u0301", " \u0301", "a \u0301 b", "\u0e01\u0e33", "\u05d0\u05b8", "\u0939\u094d", "\u200d", "\ufe0f", "\U000e0067", "\u0488", "\u3099", "\u20dd"],
}

# Characters from everywhere: what is assigned in this Python's Unicode and does not look like a wrong encoding.
ASSIGNED = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
BLOCKS = [[c for c in ASSIGNED if lo <= ord(c) < hi] for lo, hi in [(0x20, 0x250), (0x250, 0x600), (0x600, 0x1000), (0x1000, 0x2000), (0x2000, 0x3000),
          (0x3000, 0x4000), (0x4E00, 0xA000), (0xA000, 0xE000), (0xF900, 0x10000), (0x10000, 0x20000), (0x1F300, 0x1FB00), (0x20, 0x20000)]]
mixed = []
while len(mixed) < 150:
    text = "".join(pick(rng.choice(BLOCKS), 1, 12) + pick([" ", "'s ", "A", "1", "", "\u03a3", "\u0301"], 0, 3) + pick(rng.choice(BLOCKS), 1, 12))
    if ftfy.fix_text(text) == ftfy.fix_text(text, fix_encoding=False):
        mixed.append(text)
other["mixed"] = mixed

# What a Python program makes of bytes that are not UTF-8: a lone surrogate each, which ftfy turns into U+FFFD.
invalid = [b"\xff", b"a\xffb", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82\xffcat", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"cat \x80\x81 dog", b"\xe2\x82\xac\xe2\x82"]
invalid += [bytes(rng.randrange(256) for _ in range(rng.randint(1, 24))) for _ in range(40)]


def line(group, raw, text):
    if ftfy.fix_text(text) != ftfy.fix_text(text, fix_encoding=False):
        return None  # the guessing of encodings is what the Go package leaves out
    out = {"group": group, "text": raw.decode("latin-1"), "ids": clip.encode(text)}
    if group != "invalid":
        ids = hf.encode(text, add_special_tokens=False)
        if ids != out["ids"]:
            assert group != "plain", (text, ids, out["ids"])
            out["hf"] = ids
    return out


lines = [line("plain", t.encode(), t) for t in plain]
for group, texts in other.items():
    lines += [line(group, t.encode(), t) for t in texts]
lines += [line("invalid", b, b.decode("utf-8", "surrogateescape")) for b in invalid]
print(sum(x is None for x in lines), "left out", file=sys.stderr)
lines = [x for x in lines if x]
for t in plain[:60:3] + plain[-100::4]:
    lines.append({"group": "cut", "text": t.encode().decode("latin-1"), "ids": small.encode(t), "table": len(small_table)})

with open("testdata/tokenizer/goldens.jsonl", "w", encoding="ascii") as f:
    names = ["open_clip_torch", "transformers", "tokenizers", "ftfy", "regex"]
    print(json.dumps({n: version(n) for n in names} | {"python": sys.version.split()[0]}), file=f)
    for x in lines:
        print(json.dumps(x, separators=(",", ":")), file=f)
