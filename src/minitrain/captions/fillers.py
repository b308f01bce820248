"""Phrases without content: openings, asides, moods, and whole sentences for long captions."""

from __future__ import annotations

OPENINGS = (
    *("a video of", "a cartoon of", "a clip of", "an animation of", "please show me", "we see", "there is", "show"),
    *("a short film of", "make a video of", "an animated clip of", "i want to see", "create a cartoon of", "imagine"),
    *("a film about", "can you make", "draw", "please paint", "i would like a video with", "a movie of", "generate"),
)
ADJECTIVES = (
    *("cute", "small", "large", "happy", "little", "lovely", "big", "nice", "beautiful", "funny", "tiny", "pretty"),
    *("friendly", "adorable", "colourful", "colorful", "charming", "sweet", "cheerful", "bright", "single", "huge"),
)
ASIDES = (
    *("slowly", "quickly", "gently", "alone", "in the middle", "happily", "quietly", "again", "fast", "smoothly"),
    *("peacefully", "in slow motion", "calmly", "playfully", "all the time", "very slowly", "steadily", "softly"),
)
TAILS = (
    *("high quality", "for everybody", "4k", "cinematic", "very cute", "beautiful", "detailed", "smooth animation"),
    *("cartoon", "best quality", "simple", "animation", "masterpiece", "hd", "short clip", "funny"),
)
SENTENCES = (
    "The mood is calm and friendly.",
    "Everything is painted in clear and cheerful colours.",
    "It feels like something from long ago.",
    "Everybody would smile on seeing it.",
    "There is no hurry at all in this little story.",
    "The picture is simple and easy to read.",
    "Nothing else disturbs the quiet moment.",
    "One could watch this for a long while.",
    "The whole thing lasts only a few seconds.",
    "The shapes are round and soft.",
    "The outlines are clean and the colours are strong.",
    "It is a small story told without any words.",
    "The atmosphere is warm, gentle and a bit dreamy.",
    "Somebody has drawn all of this with great care.",
    "The animation is smooth and pleasant to look at.",
    "You can almost hear how gentle it is.",
    "Nobody says anything, and nothing is written.",
    "It could be the beginning of something wonderful.",
    "Every detail has its place and nothing is too much.",
    "The scene is full of charm and good humour.",
    "This is a cartoon and not a photograph.",
    "The audience cannot help but like it.",
    "The composition is balanced and leaves enough room.",
    "It is exactly the kind of clip that makes a good day.",
    "The viewer has time to look at everything.",
    "The contrast is high and nothing is blurred.",
    "The feeling is one of peace and quiet joy.",
    "The story is short, but it is told with love.",
    "It looks handmade, playful and honest.",
    "There is a sense of wonder in the picture.",
)
CHINESE_OPENINGS = (
    "一段 视频",
    "一个 动画",
    "卡通 画面",
    "请 画",
    "画面 中 有",
    "我们 看到",
    "展示",
    "生成 一段 视频",
    "我 想 看",
)
CHINESE_ADJECTIVES = ("可爱 的", "小小 的", "快乐 的", "漂亮 的", "大大 的", "有趣 的", "美丽 的")
CHINESE_TAILS = ("高清", "高质量", "卡通", "适合 大家", "动画", "很 可爱", "简单 的 画面")
CHINESE_SENTENCES = (
    "整个 画面 安静 而 温馨",
    "颜色 鲜艳 明快",
    "就 像 从前 的 日子",
    "大家 看 了 一定 会 喜欢",
    "一切 都 不 着急",
    "画面 简单 清楚",
    "没有 别的 东西 打扰 这个 时刻",
    "整段 视频 只有 几秒钟",
    "形状 圆润 柔和",
    "线条 干净 利落",
    "气氛 轻松 愉快",
    "这 是 一个 没有 对白 的 小 故事",
    "动画 流畅 自然",
    "一切 都 那么 轻柔",
    "每个 细节 都 恰到好处",
    "像 一个 美好 的 开头",
    "构图 平衡 留有 空间",
    "让 人 心情 愉快",
    "看 起来 像 手工 制作 的",
    "故事 很 短 但是 充满 爱",
)
