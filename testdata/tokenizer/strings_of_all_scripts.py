"""Strings to try tokenizers with: many scripts, mixed, with what is odd about text. The same on every machine."""
import random

RANGES = {
    "latin": [(0x20, 0x7E)], "latin more": [(0xA1, 0x24F)], "ipa": [(0x250, 0x2AF)], "marks": [(0x300, 0x36F)], "greek": [(0x370, 0x3FF)],
    "cyrillic": [(0x400, 0x4FF)], "armenian": [(0x531, 0x556)], "hebrew": [(0x5D0, 0x5EA), (0x5B0, 0x5BC)], "arabic": [(0x620, 0x66F)],
    "devanagari": [(0x900, 0x97F)], "bengali": [(0x985, 0x9FB)], "tamil": [(0xB80, 0xBFF)], "thai": [(0xE01, 0xE5B)], "tibetan": [(0xF40, 0xF8F)],
    "georgian": [(0x10A0, 0x10FF)], "jamo": [(0x1100, 0x11FF)], "ethiopic": [(0x1200, 0x137F)], "khmer": [(0x1780, 0x17D3)],
    "latin extended": [(0x1E00, 0x1EFF)], "greek extended": [(0x1F00, 0x1FFE)], "punctuation": [(0x2000, 0x206F)], "super": [(0x2070, 0x209C)],
    "letterlike": [(0x2100, 0x214F)], "numbers": [(0x2150, 0x218B)], "arrows": [(0x2190, 0x21FF)], "enclosed": [(0x2460, 0x24FF)], "shapes": [(0x25A0, 0x27BF)],
    "cjk punctuation": [(0x3000, 0x303F)], "kana": [(0x3041, 0x30FF)], "cjk": [(0x4E00, 0x9FA5)], "hangul": [(0xAC00, 0xD7A3)],
    "presentation": [(0xFB00, 0xFDFB)], "width": [(0xFF01, 0xFFEE)], "math": [(0x1D400, 0x1D7FF)], "emoji": [(0x1F300, 0x1F64F), (0x1F680, 0x1F6FF)],
    "gothic": [(0x10330, 0x1034A)], "controls": [(0x01, 0x1F), (0x7F, 0x9F)],
}
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n ", "\u00a0", "\u3000", "\u2003", "\u200b", "\u0085", " \t \n  "]
WORDS = """a the photo of cat dog portrait woman man castle on hill at sunset, highly detailed, 8k, trending on artstation oil painting by masterpiece best quality
don't it's we're I'VE they'LL I'm he'd 'tis rock'n'roll 1girl 2024 3.14 1,000,000 #hashtag @name C++ e=mc² naïve café Ünïcödé straße ﬁne Ⅻ ½ ™ … “quoted” ‘single’ — – ·
кошка на крыше 猫が屋根の上 고양이 قطة על הגג แมวบนหลังคา बिल्ली छत पर γάτα στη στέγη con mèo trên mái nhà 👨‍👩‍👧‍👦 👩🏽‍🚀 🇩🇪 ❤️ e\u0301 A\u030a ｆｕｌｌ ｶﾞ <b> &amp; http://x.y/z?q=1 _under_score CamelCase""".split()


def strings(count, special=()):
    pick = random.Random(7)
    words = WORDS + list(special)
    names = sorted(RANGES)
    yield from ["", " ", "\n", "a", " a", "a ", "  a  b  ", "'s", "'S", "''s", "x's'", "\r\n\r\n x", " \n \n y", "a\u200db", "ſ'ſ", "don'ſ", "\u0130\u0131"]
    made = 17
    while made < count:
        parts = []
        for _ in range(pick.randint(1, 9)):
            if pick.random() < 0.55:
                parts.append(pick.choice(words))
            else:
                low, high = pick.choice(RANGES[pick.choice(names)])
                parts.append("".join(chr(pick.randint(low, high)) for _ in range(pick.randint(1, 6))))
            if pick.random() < 0.8:
                parts.append(pick.choice(SPACES) if pick.random() < 0.3 else " ")
        yield "".join(parts)
        made += 1
