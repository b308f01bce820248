"""Phrases for the camera, weather, hour, style, second actor and events, in English and Chinese.

``{b}`` stands for the second actor, ``{side}`` for a camera's direction. Chinese words are separated by spaces here.
"""

from __future__ import annotations

CAMERA: dict[str, tuple[str, ...]] = {
    "pan-left": ("the camera pans {side}", "camera pan {side}", "camera moving to the {side}"),
    "tilt-up": ("the camera tilts up", "camera tilt up", "the camera looks up", "the camera tilts upwards", "tilt up"),
    "tilt-down": (
        *("the camera tilts down", "camera tilt down", "the camera looks down", "the camera tilts downwards"),
        "tilt down",
    ),
    "zoom-in": ("the camera zooms in", "zoom in", "camera zoom in", "zooming in", "a slow zoom in", "dolly in"),
    "zoom-out": ("the camera zooms out", "zoom out", "camera zoom out", "zooming out", "a slow zoom out", "dolly out"),
    "follow": (
        *("the camera follows", "the camera follows it", "tracking shot", "a tracking shot", "camera tracking"),
        *("follow shot", "the camera tracks it", "the camera goes along with it"),
    ),
}
MORE_CAMERA = {
    "pan-left": (
        *(
            "pan {side}",
            "panning {side}",
            "pan to the {side}",
            "the camera pans to the {side}",
            "panning to the {side}",
        ),
        *("the camera moves to the {side}", "a pan to the {side}", "the camera swings {side}"),
    ),
}
CAMERA_STATIC = ("static camera", "the camera does not move", "a fixed camera", "still camera", "locked shot")

WEATHER: dict[str, tuple[str, ...]] = {
    "snow": (
        *("snow is falling", "with falling snow", "while it snows", "snowfall", "with snowflakes", "in falling snow"),
        *("it is snowing", "snowing", "snowflakes fall", "snowflakes drift through the air"),
    ),
    "rain": (
        *("it is raining", "rain is falling", "in the rain", "while it rains", "rainy weather", "with raindrops"),
        *("raining", "rain pours down", "in a rain shower", "on a rainy day"),
    ),
    "leaves": (
        *("leaves are falling", "with falling leaves", "autumn leaves drift by", "while leaves fall", "autumn leaves"),
        *("leaves blow in the wind", "in autumn", "fallen leaves fly around"),
    ),
    "bubbles": (
        *(
            "bubbles are rising",
            "with bubbles",
            "soap bubbles float around",
            "with floating bubbles",
            "bubbles everywhere",
        ),
        *("bubbles float up", "among bubbles", "bubbles in the air"),
    ),
    "confetti": (
        *("confetti is falling", "with confetti", "confetti rains down", "colourful confetti flies around"),
        *("a shower of confetti", "paper confetti everywhere", "in a rain of confetti"),
    ),
}

HOUR: dict[str, tuple[str, ...]] = {
    "day": (
        "by day",
        "in daylight",
        "during the day",
        "in the daytime",
        "in bright daylight",
        "in the morning",
        "at noon",
    ),
    "dusk": (
        *("at dusk", "in the evening", "at sunset", "at twilight", "in the evening light", "at sundown", "at dawn"),
        *("in the golden hour", "as the sun sets", "in the evening glow"),
    ),
    "night": (
        *("at night", "in the night", "by night", "at midnight", "in the dark", "after dark", "at night time"),
        *("during the night", "at nighttime", "in the moonlight"),
    ),
}

STYLE: dict[str, tuple[str, ...]] = {
    "flat": ("flat style", "flat colours", "in a flat style", "flat design", "in flat colors", "flat illustration"),
    "pencil": (
        *(
            "pencil drawing",
            "pencil sketch",
            "drawn with a pencil",
            "in pencil style",
            "hand drawn in pencil",
            "sketch",
        ),
        *("a pencil sketch", "sketched", "pencil style", "as a sketch"),
    ),
    "pixel": (
        *(
            "pixel art",
            "in pixel style",
            "pixelated",
            "8 bit style",
            "retro video game style",
            "as pixel art",
            "pixel style",
        ),
        *("in the style of an old computer game", "8 bit"),
    ),
    "neon": (
        "neon",
        "neon style",
        "in neon colours",
        "with glowing neon lines",
        "neon lights",
        "glowing neon",
        "in neon",
    ),
    "watercolour": (
        *(
            "watercolour",
            "watercolor",
            "watercolour painting",
            "watercolor painting",
            "painted in watercolour",
            "aquarelle",
        ),
        *("in watercolor style", "in watercolour style", "as a watercolour"),
    ),
}

RELATION: dict[str, tuple[str, ...]] = {
    "beside": (
        "next to {b}",
        "beside {b}",
        "with {b} beside it",
        "with {b} at its side",
        "together with {b} side by side",
    ),
    "above": ("with {b} above it", "below {b}", "{b} is above it", "underneath {b}", "with {b} over it", "beneath {b}"),
    "orbits": (
        *("{b} circles around it", "with {b} circling it", "{b} orbits it", "orbited by {b}", "{b} goes around it"),
        *("{b} flies in circles around it", "circled by {b}", "with {b} in orbit"),
    ),
    "follows": (
        *("followed by {b}", "{b} follows it", "{b} comes after it", "with {b} following", "{b} runs after it"),
        *("chased by {b}", "{b} chases it", "with {b} coming after it"),
    ),
    "behind": (
        *("{b} passes behind it", "while {b} passes behind", "{b} goes behind it and comes out again"),
        *("{b} disappears behind it for a moment", "{b} is hidden behind it for a moment", "hiding {b} for a moment"),
    ),
}
UNRELATED_SECOND = ("with {b}", "and {b}", "together with {b}", "in company of {b}")  # a second actor, no relation
UNNAMED_SECOND = "something"  # a relation, no second actor

EVENT: dict[str, tuple[str, ...]] = {
    "stroke": (
        *(
            "leaving a stroke of paint",
            "leaves a trail of paint",
            "paints a line",
            "painting a line",
            "it leaves paint",
        ),
        *("painting a stroke", "it paints as it goes", "drawing a coloured line", "with a stroke of paint"),
    ),
    "bites": (
        *("someone takes bites out of it", "getting bitten", "it is eaten bite by bite", "being eaten", "losing bites"),
        *("bite after bite", "with bites taken out of it", "it gets eaten", "bites are taken from it"),
    ),
}

CUT_WORDS = (
    "then",
    "cut to",
    "next shot",
    "afterwards",
    "after that",
    "and then",
    "later",
    "in the second shot",
    "suddenly",
)

CHINESE: dict[str, dict[str, tuple[str, ...]]] = {
    "camera": {
        "pan-left": ("镜头 向 {side} 摇", "镜头 往 {side} 移", "镜头 {side} 移", "摄像机 向 {side} 平移"),
        "tilt-up": ("镜头 向上 摇", "镜头 上摇", "镜头 往上 抬", "摄像机 向上 看"),
        "tilt-down": ("镜头 向下 摇", "镜头 下摇", "镜头 往下 压", "摄像机 向下 看"),
        "zoom-in": ("镜头 推近", "镜头 拉近", "镜头 放大", "推 镜头"),
        "zoom-out": ("镜头 拉远", "镜头 推远", "镜头 缩小", "拉 镜头"),
        "follow": ("镜头 跟随", "跟 拍", "镜头 跟着 它", "跟踪 镜头"),
    },
    "weather": {
        "snow": ("下雪", "下着 雪", "雪花 飘落", "雪花 飞舞", "飘着 雪花"),
        "rain": ("下雨", "下着 雨", "雨滴 落下", "在 雨中", "雨水 不断"),
        "leaves": ("落叶 飘落", "树叶 飘落", "秋叶 飞舞", "落叶 纷飞"),
        "bubbles": ("气泡 上升", "有 许多 泡泡", "泡泡 飘 着", "肥皂泡 飞舞"),
        "confetti": ("彩纸 飘落", "彩色 纸屑 飞舞", "五彩 纸屑", "撒 着 彩纸"),
    },
    "hour": {
        "day": ("白天", "在 白天", "大白天", "早上", "中午"),
        "dusk": ("傍晚", "黄昏", "在 黄昏 时分", "日落 时分", "夕阳西下"),
        "night": ("夜晚", "晚上", "在 夜里", "深夜", "半夜"),
    },
    "style": {
        "flat": ("扁平 风格", "平面 插画", "扁平 插画"),
        "pencil": ("铅笔画", "素描", "铅笔 素描", "手绘 素描 风格"),
        "pixel": ("像素 画", "像素 风格", "像素 游戏 风格", "八位 像素"),
        "neon": ("霓虹", "霓虹 风格", "霓虹灯 效果", "发光 的 霓虹 线条"),
        "watercolour": ("水彩画", "水彩", "水彩 风格", "水彩 插画"),
    },
    "relation": {
        "beside": ("旁边 有 {b}", "和 {b} 并排", "身旁 是 {b}", "在 {b} 旁边"),
        "above": ("上面 有 {b}", "上方 是 {b}", "在 {b} 下面", "头顶 有 {b}"),
        "orbits": ("{b} 围着 它 转", "{b} 绕着 它 飞", "{b} 环绕 着 它", "周围 环绕 着 {b}"),
        "follows": ("{b} 跟 在 后面", "{b} 跟着 它", "{b} 追着 它", "被 {b} 追赶"),
        "behind": ("{b} 从 它 背后 经过", "{b} 被 它 遮住 一会儿", "{b} 躲 到 它 背后 又 出来", "遮住 了 {b}"),
    },
    "event": {
        "stroke": ("留下 一道 颜料", "画 出 一条 线", "一路 画 着 颜色", "留下 彩色 笔画"),
        "bites": ("被 一口 一口 吃掉", "被 咬 了 几口", "被 吃掉", "有人 咬 了 几口"),
    },
}
CHINESE_UNRELATED_SECOND = ("和 {b} 一起", "还有 {b}", "以及 {b}")
CHINESE_UNNAMED_SECOND = "某个 东西"
CHINESE_CUT_WORDS = ("然后", "接着", "下 一个 镜头 里", "之后", "随后", "突然")
