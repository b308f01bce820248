"""Phrases for settings: adverbial ones ("on the beach") and nouns ("beach"). Chinese words are separated by spaces
here, which captions remove."""

from __future__ import annotations

PHRASES: dict[str, tuple[str, ...]] = {
    "meadow": (
        *("on a meadow", "on the grass", "in a green field", "over a green meadow", "in a meadow", "over a meadow"),
        *("on green grass", "in the green hills", "on a sunny meadow", "across a green meadow", "in a grassy field"),
        *("on a lawn", "in a field of flowers", "in the countryside", "on a pasture", "in the grassland"),
    ),
    "snow": (
        *("in the snow", "on snow", "in a snowy landscape", "in winter", "over a snowy field", "on white snow"),
        *("on a snowy plain", "across the snow", "among snowy fir trees", "over the snow", "in a snowy field"),
        *("in a winter landscape", "in the cold white winter", "on the ice and snow", "in a snow covered landscape"),
    ),
    "sea": (
        *("under the sea", "underwater", "in the ocean", "under water", "beneath the waves", "in the deep blue sea"),
        *("at the bottom of the sea", "in the sea", "over the sea floor", "on the sea floor", "below the waves"),
        *("on the ocean floor", "at the bottom of the ocean", "under the ocean", "beneath the sea", "in the deep sea"),
        *("among seaweed", "on the seabed", "in the deep ocean"),
    ),
    "desert": (
        *("in the desert", "on the sand", "in a desert", "over the dunes", "in the hot desert", "on yellow sand"),
        *("between cactuses", "past a cactus", "across the desert", "in the dunes", "over the desert"),
        *("among sand dunes", "in the dry desert", "between cacti", "in a sandy desert", "in the sahara"),
    ),
    "night": (
        *("at night", "under the night sky", "in the night", "under the stars", "in the moonlight", "under the moon"),
        *("in the dark night", "at night under the stars", "in a starry night", "in the night sky", "after dark"),
        *("at night time", "at nighttime", "under a starry sky", "in the dark", "at midnight", "by moonlight"),
        *("under the full moon", "during the night", "on a dark night", "under moon and stars"),
    ),
    "city": (
        *("in a city street", "in the city", "on a street", "in town", "through the city", "on a city street"),
        *("past tall houses", "on the road", "along the street", "in front of houses", "down a city street"),
        *("in the town", "downtown", "on a road", "in a busy street", "among buildings", "past tall buildings"),
        *("in front of skyscrapers", "along a road", "in an urban street", "in the big city"),
    ),
    "sunset": (
        *(
            "at sunset",
            "in front of a sunset",
            "in the evening",
            "during sunset",
            "at sunset over the water",
            "at dusk",
        ),
        *("in the evening light", "in the orange evening", "as the sun sets", "in the glow of the sunset"),
        *("at sundown", "in the evening sun", "during the sunset", "in the evening glow", "before an orange sunset"),
        *("under an orange evening sky", "while the sun goes down", "at twilight"),
    ),
    "beach": (
        *(
            "on the beach",
            "on a beach",
            "at the beach",
            "at the seaside",
            "by the sea",
            "on a sandy beach",
            "on the shore",
        ),
        *("at the seashore", "on the coast", "along the beach", "near the sea", "by the ocean", "on the sea shore"),
    ),
    "forest": (
        *("in the forest", "in the woods", "in a forest", "among the trees", "between trees", "through the forest"),
        *("in a dark forest", "in the green forest", "in a wood", "among tall trees", "deep in the forest"),
    ),
    "space": (
        *("in space", "in outer space", "among the stars", "between the planets", "in the universe", "in the galaxy"),
        *("through space", "in the cosmos", "past planets and stars", "in deep space", "far out in space"),
    ),
    "mountains": (
        "in the mountains",
        "on a mountain",
        "in front of mountains",
        "high up in the mountains",
        "among snowy peaks",
        "on a mountain side",
        "between high mountains",
        "in the alps",
        "on rocky mountains",
    ),
    "farm": (
        "on a farm",
        "on the farm",
        "in front of a barn",
        "in the farmyard",
        "by the red barn",
        "at a farm",
        "on farmland",
        "near the barn",
    ),
    "village": (
        "in a village",
        "in the village",
        "in a small village",
        "among cottages",
        "in front of little cottages",
        "through the village",
        "between cottages",
        "in a hamlet",
    ),
    "jungle": (
        "in the jungle",
        "in a jungle",
        "in the rainforest",
        "in the rain forest",
        "among lianas",
        "between vines",
        "through the jungle",
        "in the tropical jungle",
    ),
    "lake": (
        "at the lake",
        "on a lake",
        "by a lake",
        "on the lake",
        "beside the lake",
        "at a quiet lake",
        "on a pond",
        "by the pond",
        "on the lakeside",
    ),
    "moon": (
        "on the moon",
        "on the lunar surface",
        "on the surface of the moon",
        "among moon craters",
        "between craters",
        "on the grey moon",
        "on the dusty moon",
    ),
    "cave": (
        "in a cave",
        "in the cave",
        "inside a cave",
        "in a dark cave",
        "among stalactites",
        "in a cavern",
        "in a grotto",
        "deep inside a cave",
    ),
    "kitchen": (
        "in a kitchen",
        "in the kitchen",
        "on the kitchen table",
        "in front of the stove",
        "in the cosy kitchen",
        "on a kitchen counter",
        "inside a kitchen",
    ),
    "playground": (
        "on a playground",
        "on the playground",
        "at the playground",
        "next to the swings",
        "by the slide and the swings",
        "in a play area",
        "by the swings",
    ),
    "harbour": (
        "in the harbour",
        "in a harbour",
        "at the harbor",
        "at the docks",
        "in the port",
        "by the lighthouse",
        "on the quay",
        "at the pier",
        "in a harbor",
    ),
    "reef": (
        "over a coral reef",
        "at the coral reef",
        "among corals",
        "between corals",
        "over the reef",
        "in a colourful reef",
        "at a reef",
        "past corals",
    ),
}

NOUNS: dict[str, tuple[str, ...]] = {
    "meadow": ("meadow", "grass", "green field", "green meadow", "lawn", "countryside", "grassland"),
    "snow": ("snow", "snowy field", "winter", "snowy landscape", "winter landscape", "white snow"),
    "sea": ("sea", "ocean", "underwater", "sea floor", "ocean floor", "deep sea", "under water"),
    "desert": ("desert", "sand", "dunes", "sand dunes", "sandy desert", "hot desert"),
    "night": ("night", "night sky", "starry sky", "moonlight", "starry night", "dark night", "night time", "nighttime"),
    "city": ("city", "street", "town", "city street", "road", "downtown", "buildings"),
    "sunset": ("sunset", "evening", "orange evening", "dusk", "sundown", "evening light", "twilight"),
    "beach": ("beach", "seaside", "sandy beach", "shore", "coast", "seashore"),
    "forest": ("forest", "woods", "trees", "green forest", "dark forest", "wood"),
    "space": ("space", "outer space", "universe", "galaxy", "cosmos", "deep space"),
    "mountains": ("mountains", "mountain", "alps", "peaks", "high mountains"),
    "farm": ("farm", "barn", "farmyard", "farmland"),
    "village": ("village", "small village", "cottages", "hamlet"),
    "jungle": ("jungle", "rainforest", "tropical jungle", "lianas"),
    "lake": ("lake", "pond", "lakeside", "quiet lake"),
    "moon": ("lunar surface", "surface of the moon", "craters", "moon craters", "moon surface"),
    "cave": ("cave", "cavern", "grotto", "stalactites", "dark cave"),
    "kitchen": ("kitchen", "kitchen table", "cosy kitchen", "kitchen counter"),
    "playground": ("playground", "play area", "swings"),
    "harbour": ("harbour", "harbor", "port", "docks", "pier", "quay"),
    "reef": ("coral reef", "reef", "corals", "coral"),
}

CHINESE: dict[str, tuple[str, ...]] = {
    "meadow": ("在 草地 上", "在 草原 上", "在 绿色 的 草地 上", "在 田野 里", "在 绿油油 的 草坪 上", "在 草丛 里"),
    "snow": ("在 雪地 里", "在 雪地 上", "在 冬天 的 雪原 上", "在 白色 的 雪地 上", "在 冰天雪地 里", "在 雪中"),
    "sea": ("在 海底", "在 海里", "在 水下", "在 大海 里", "在 海洋 里", "在 深海 中", "在 蓝色 的 海底", "在 水里"),
    "desert": ("在 沙漠 里", "在 沙漠 中", "在 沙丘 上", "在 炎热 的 沙漠 里", "在 沙地 上", "在 仙人掌 旁边"),
    "night": ("在 夜里", "在 夜空 下", "在 晚上", "在 星空 下", "在 月光 下", "在 黑夜 里", "在 夜晚", "在 月亮 下面"),
    "city": ("在 城市 里", "在 街道 上", "在 大街 上", "在 马路 上", "在 城里", "在 高楼 前", "在 城市 的 街上"),
    "sunset": ("在 日落 时", "在 夕阳 下", "在 傍晚", "在 黄昏", "在 晚霞 中", "在 夕阳 的 余晖 里", "在 日落 时分"),
    "beach": ("在 海滩 上", "在 沙滩 上", "在 海边", "在 岸边", "在 金色 的 沙滩 上", "在 海岸 边"),
    "forest": ("在 森林 里", "在 树林 里", "在 林中", "在 茂密 的 森林 里", "在 树木 之间", "穿过 森林"),
    "space": ("在 太空 中", "在 太空 里", "在 宇宙 中", "在 外太空", "在 星球 之间", "在 银河 里"),
    "mountains": ("在 山里", "在 高山 上", "在 群山 之间", "在 山顶 上", "在 雪山 前"),
    "farm": ("在 农场 里", "在 农场 上", "在 谷仓 前", "在 农家 院子 里", "在 农庄 里"),
    "village": ("在 村庄 里", "在 村子 里", "在 小村 里", "在 乡村 里", "在 农舍 之间"),
    "jungle": ("在 丛林 里", "在 热带雨林 里", "在 雨林 中", "在 热带 丛林 里", "在 藤蔓 之间"),
    "lake": ("在 湖边", "在 湖上", "在 湖面 上", "在 池塘 边", "在 平静 的 湖上"),
    "moon": ("在 月球 上", "在 月球 表面", "在 月面 上", "在 环形山 之间"),
    "cave": ("在 山洞 里", "在 洞穴 里", "在 洞里", "在 岩洞 中", "在 黑暗 的 山洞 里"),
    "kitchen": ("在 厨房 里", "在 厨房 的 桌子 上", "在 灶台 前", "在 温暖 的 厨房 里"),
    "playground": ("在 游乐场 里", "在 操场 上", "在 秋千 旁边", "在 滑梯 旁边", "在 游乐园 里"),
    "harbour": ("在 港口", "在 港湾 里", "在 码头 上", "在 海港 里", "在 灯塔 旁边"),
    "reef": ("在 珊瑚礁 上", "在 珊瑚 之间", "在 珊瑚 丛中", "在 五彩 的 珊瑚礁 旁"),
}

CHINESE_NOUNS: dict[str, tuple[str, ...]] = {
    "meadow": ("草地", "草原", "草坪", "田野"),
    "snow": ("雪地", "雪原", "冬天", "冰天雪地"),
    "sea": ("海底", "大海", "海洋", "水下", "深海"),
    "desert": ("沙漠", "沙丘", "沙地"),
    "night": ("夜晚", "晚上", "夜空", "星空", "黑夜"),
    "city": ("城市", "街道", "马路", "大街"),
    "sunset": ("日落", "夕阳", "傍晚", "黄昏", "晚霞"),
    "beach": ("海滩", "沙滩", "海边", "海岸"),
    "forest": ("森林", "树林", "林中"),
    "space": ("太空", "宇宙", "外太空", "银河"),
    "mountains": ("山里", "高山", "群山", "山顶", "雪山"),
    "farm": ("农场", "谷仓", "农庄", "农家 院子"),
    "village": ("村庄", "村子", "小村", "乡村"),
    "jungle": ("丛林", "热带雨林", "雨林"),
    "lake": ("湖边", "湖面", "池塘", "湖泊"),
    "moon": ("月球", "月球 表面", "月面", "环形山"),
    "cave": ("山洞", "洞穴", "岩洞"),
    "kitchen": ("厨房", "灶台"),
    "playground": ("游乐场", "操场", "游乐园"),
    "harbour": ("港口", "港湾", "码头", "海港"),
    "reef": ("珊瑚礁", "珊瑚", "珊瑚 丛中"),
}


def phrases(setting: str) -> tuple[str, ...]:
    """Adverbial phrases in English: "on the beach"."""
    return PHRASES.get(setting, (f"in the {setting}",))


def nouns(setting: str) -> tuple[str, ...]:
    """Nouns in English: "beach"."""
    return NOUNS.get(setting, (setting,))


def chinese_phrases(setting: str) -> tuple[str, ...]:
    """Adverbial phrases in Chinese, words separated by spaces."""
    return CHINESE.get(setting, (f"在 {setting} 里",))


def chinese_nouns(setting: str) -> tuple[str, ...]:
    """Nouns in Chinese, words separated by spaces."""
    return CHINESE_NOUNS.get(setting, (setting,))
