"""The subjects of the cartoon worlds: emoji by their Unicode names, drawn shapes, and all their names."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

COLOURS = {
    "red": (225, 45, 40),
    "blue": (40, 80, 225),
    "green": (45, 170, 60),
    "yellow": (250, 210, 40),
    "purple": (140, 60, 190),
    "orange": (250, 135, 30),
    "pink": (250, 130, 180),
}
COLOURS_ZH = {
    "red": "红色",
    "blue": "蓝色",
    "green": "绿色",
    "yellow": "黄色",
    "purple": "紫色",
    "orange": "橙色",
    "pink": "粉色",
}
KINDS = ("animal", "person", "vehicle", "plant", "food", "object", "sky", "shape")


@dataclass(frozen=True)
class Subject:
    """glyph: an emoji, or empty for a coloured shape. names: English, the first is canonical. zh: Chinese names, the
    first is canonical. verbs: of its motions in a caption, third person. faces: the direction the picture looks in,
    "left", "right" or "" if it has none. kind: one of KINDS."""

    names: tuple[str, ...]
    zh: tuple[str, ...]
    verbs: tuple[str, ...]
    kind: str
    glyph: str = ""
    shape: str = ""
    colour: str = ""
    faces: str = ""


WALKS = ("walks", "runs", "moves", "goes", "strolls")
HOPS = ("hops", *WALKS)
CRAWLS = ("crawls", *WALKS)
SWIMS = ("swims", "moves", "goes", "glides")
FLIES = ("flies", "moves", "goes", "glides")
FLUTTERS = ("flutters", "flies", "floats", "drifts", "moves")
DRIVES = ("drives", "goes", "moves", "travels", "rolls")
RIDES = ("rides", "goes", "moves", "travels", "rolls")
SAILS = ("sails", "floats", "moves", "drifts", "goes", "glides")
DRIFTS = ("floats", "moves", "drifts", "goes", "glides")
ROLLS = ("rolls", "moves", "goes", "travels")
SLIDES = ("slides", "moves", "goes", "travels", "glides")
DANCES = ("dances", "moves", "goes", "runs")

GlyphRow = tuple[str, str, str, tuple[str, ...], str]  # glyph, where it faces, English names, verbs, Chinese names

ANIMALS: dict[str, GlyphRow] = {
    "turtle": ("🐢", "left", "turtle, green turtle, tortoise", (*WALKS, "swims"), "乌龟, 海龟"),
    "fish": ("🐠", "left", "fish, orange fish, striped fish", SWIMS, "鱼, 小鱼"),
    "elephant": ("🐘", "left", "elephant, grey elephant, big elephant", WALKS, "大象, 象"),
    "chick": ("🐥", "", "chick, yellow chick, baby chick", WALKS, "小鸡"),
    "dog": ("🐕", "left", "dog, puppy, hound", WALKS, "狗, 小狗"),
    "cat": ("🐈", "left", "cat, kitty, kitten", WALKS, "猫, 小猫"),
    "kangaroo": ("🦘", "left", "kangaroo, wallaby", HOPS, "袋鼠"),
    "bird": ("🐦", "left", "bird, blue bird, little bird", (*FLIES, *WALKS[:2]), "鸟, 小鸟"),
    "butterfly": ("🦋", "", "butterfly, orange butterfly", FLUTTERS, "蝴蝶"),
    "octopus": ("🐙", "", "octopus", SWIMS, "章鱼"),
    "squid": ("🦑", "", "squid", SWIMS, "鱿鱼"),
    "whale": ("🐳", "left", "whale, spouting whale, blue whale", SWIMS, "鲸鱼, 鲸"),
    "crab": ("🦀", "", "crab, red crab", CRAWLS, "螃蟹"),
    "snail": ("🐌", "left", "snail", CRAWLS, "蜗牛"),
    "penguin": ("🐧", "left", "penguin", WALKS, "企鹅"),
    "rabbit": ("🐇", "left", "rabbit, bunny, hare", HOPS, "兔子, 小兔"),
    "horse": ("🐎", "left", "horse, brown horse, pony", ("gallops", *WALKS), "马"),
    "cow": ("🐄", "left", "cow", WALKS, "奶牛, 牛"),
    "pig": ("🐖", "left", "pig, pink pig, piglet", WALKS, "猪, 小猪"),
    "sheep": ("🐑", "left", "sheep, lamb", WALKS, "羊, 绵羊"),
    "camel": ("🐫", "left", "camel", WALKS, "骆驼"),
    "giraffe": ("🦒", "left", "giraffe", WALKS, "长颈鹿"),
    "zebra": ("🦓", "left", "zebra", WALKS, "斑马"),
    "tiger": ("🐅", "left", "tiger", WALKS, "老虎, 虎"),
    "rhinoceros": ("🦏", "left", "rhino, rhinoceros", WALKS, "犀牛"),
    "hippopotamus": ("🦛", "left", "hippo, hippopotamus", WALKS, "河马"),
    "crocodile": ("🐊", "left", "crocodile, alligator", CRAWLS, "鳄鱼"),
    "snake": ("🐍", "left", "snake, green snake", ("slithers", *CRAWLS), "蛇"),
    "lizard": ("🦎", "left", "lizard, gecko", CRAWLS, "蜥蜴"),
    "frog": ("🐸", "", "frog, green frog", HOPS, "青蛙"),
    "monkey": ("🐒", "left", "monkey", WALKS, "猴子"),
    "gorilla": ("🦍", "left", "gorilla, ape", WALKS, "大猩猩"),
    "hedgehog": ("🦔", "left", "hedgehog", WALKS, "刺猬"),
    "mouse": ("🐁", "left", "mouse, white mouse", WALKS, "老鼠, 小老鼠"),
    "squirrel": ("🐿️", "left", "squirrel, chipmunk", HOPS, "松鼠"),
    "bat": ("🦇", "", "bat", FLIES, "蝙蝠"),
    "rooster": ("🐓", "left", "rooster, cock", WALKS, "公鸡"),
    "duck": ("🦆", "left", "duck, mallard", (*WALKS, "swims"), "鸭子"),
    "swan": ("🦢", "left", "swan, white swan", (*SWIMS, "flies"), "天鹅"),
    "owl": ("🦉", "", "owl", FLIES, "猫头鹰"),
    "flamingo": ("🦩", "left", "flamingo", WALKS, "火烈鸟"),
    "peacock": ("🦚", "", "peacock", WALKS, "孔雀"),
    "parrot": ("🦜", "left", "parrot", FLIES, "鹦鹉"),
    "turkey": ("🦃", "left", "turkey", WALKS, "火鸡"),
    "eagle": ("🦅", "left", "eagle", FLIES, "老鹰, 鹰"),
    "dove": ("🕊️", "left", "dove, white dove", FLIES, "鸽子"),
    "bee": ("🐝", "left", "bee, honeybee", ("buzzes", *FLIES), "蜜蜂"),
    "ladybird": ("🐞", "left", "ladybird, ladybug, lady beetle", CRAWLS, "瓢虫"),
    "ant": ("🐜", "left", "ant", CRAWLS, "蚂蚁"),
    "spider": ("🕷️", "", "spider", CRAWLS, "蜘蛛"),
    "scorpion": ("🦂", "", "scorpion", CRAWLS, "蝎子"),
    "caterpillar": ("🐛", "left", "caterpillar", CRAWLS, "毛毛虫"),
    "pufferfish": ("🐡", "left", "pufferfish, blowfish", SWIMS, "河豚"),
    "shark": ("🦈", "left", "shark", SWIMS, "鲨鱼"),
    "dolphin": ("🐬", "left", "dolphin", SWIMS, "海豚"),
    "lobster": ("🦞", "", "lobster", CRAWLS, "龙虾"),
    "shrimp": ("🦐", "left", "shrimp, prawn", SWIMS, "虾"),
    "otter": ("🦦", "left", "otter", (*WALKS, "swims"), "水獭"),
    "sloth": ("🦥", "left", "sloth", CRAWLS, "树懒"),
    "llama": ("🦙", "left", "llama, alpaca", WALKS, "羊驼"),
    "panda": ("🐼", "", "panda, panda bear", WALKS, "熊猫"),
    "lion": ("🦁", "", "lion", WALKS, "狮子"),
    "fox": ("🦊", "", "fox", WALKS, "狐狸"),
    "bear": ("🐻", "", "bear, brown bear", WALKS, "熊"),
    "koala": ("🐨", "", "koala", WALKS, "考拉"),
    "dinosaur": ("🦖", "left", "dinosaur, tyrannosaurus, T. rex", WALKS, "恐龙, 霸王龙"),
    "dragon": ("🐉", "left", "dragon, green dragon", FLIES, "龙"),
    "unicorn": ("🦄", "left", "unicorn", WALKS, "独角兽"),
    "shell": ("🐚", "", "shell, spiral shell, seashell", SLIDES, "贝壳, 海螺"),
}
PEOPLE: dict[str, GlyphRow] = {
    "runner": ("🏃", "left", "runner, running person, jogger", ("runs", "moves", "goes"), "跑步的人, 跑步者"),
    "walker": ("🚶", "left", "pedestrian, walking person, walker", WALKS, "行人, 走路的人"),
    "dancer": ("💃", "left", "dancer, dancing woman, woman in a red dress", DANCES, "舞者, 跳舞的女人"),
    "surfer": ("🏄", "left", "surfer, surfing person", ("surfs", "glides", "moves"), "冲浪者, 冲浪的人"),
    "swimmer": ("🏊", "left", "swimmer, swimming person", SWIMS, "游泳者, 游泳的人"),
    "rower": ("🚣", "left", "rower, person in a rowing boat", ("rows", "glides", "moves"), "划船的人, 划手"),
    "cyclist": ("🚴", "left", "cyclist, bicyclist, person on a bike", RIDES, "骑自行车的人, 骑手"),
    "skier": ("⛷️", "left", "skier, skiing person", ("skis", "glides", "moves"), "滑雪者, 滑雪的人"),
    "snowboarder": ("🏂", "left", "snowboarder", ("glides", "slides", "moves"), "滑雪板手, 单板滑雪者"),
    "weightlifter": ("🏋️", "", "weightlifter, person lifting weights", WALKS, "举重运动员"),
    "juggler": ("🤹", "", "juggler, juggling person", WALKS, "杂耍者"),
    "gymnast": ("🤸", "", "gymnast, person turning a cartwheel", ("tumbles", "moves", "goes"), "体操运动员"),
    "rider": ("🏇", "left", "jockey, horse racer, person on a horse", RIDES, "骑马的人, 骑师"),
    "mermaid": ("🧜", "", "mermaid, merperson", SWIMS, "美人鱼"),
    "fairy": ("🧚", "", "fairy", FLUTTERS, "仙女"),
    "superhero": ("🦸", "", "superhero, hero", FLIES, "超级英雄"),
    "wizard": ("🧙", "", "wizard, mage, magician", WALKS, "巫师"),
    "santa": ("🎅", "", "santa claus, father christmas", WALKS, "圣诞老人"),
    "baby": ("👶", "", "baby", CRAWLS, "婴儿, 宝宝"),
    "astronaut": ("🧑‍🚀", "", "astronaut, spaceman", DRIFTS, "宇航员"),
    "ghost": ("👻", "", "ghost", DRIFTS, "幽灵, 鬼"),
    "snowman": ("⛄", "", "snowman", SLIDES, "雪人"),
    "robot": ("🤖", "", "robot", WALKS, "机器人"),
    "clown": ("🤡", "", "clown", WALKS, "小丑"),
    "teddy": ("🧸", "", "teddy bear, teddy", SLIDES, "泰迪熊, 玩具熊"),
}
VEHICLES: dict[str, GlyphRow] = {
    "car": ("🚗", "left", "red car, car, auto, automobile", DRIVES, "红色汽车, 小汽车, 汽车"),
    "sailboat": ("⛵", "", "sailboat, boat, little boat, yacht", SAILS, "帆船, 小船"),
    "rocket": ("🚀", "", "rocket, spaceship, rocket ship", FLIES, "火箭, 飞船"),
    "bus": ("🚌", "left", "bus, coach", DRIVES, "公共汽车, 巴士"),
    "jeep": ("🚙", "left", "blue car, recreational vehicle, jeep", DRIVES, "蓝色汽车, 吉普车"),
    "taxi": ("🚕", "left", "taxi, cab, yellow taxi", DRIVES, "出租车"),
    "fire engine": ("🚒", "left", "fire engine, fire truck", DRIVES, "消防车"),
    "ambulance": ("🚑", "left", "ambulance", DRIVES, "救护车"),
    "police car": ("🚓", "left", "police car", DRIVES, "警车"),
    "lorry": ("🚚", "left", "truck, delivery truck, lorry", DRIVES, "卡车, 货车"),
    "tractor": ("🚜", "left", "tractor", DRIVES, "拖拉机"),
    "racing car": ("🏎️", "left", "racing car, race car", DRIVES, "赛车"),
    "motorcycle": ("🏍️", "left", "motorcycle, motorbike", DRIVES, "摩托车"),
    "scooter": ("🛵", "left", "motor scooter, scooter, moped", DRIVES, "小型摩托车, 踏板车"),
    "bicycle": ("🚲", "left", "bicycle, bike", ROLLS, "自行车"),
    "locomotive": ("🚂", "left", "train, steam locomotive, steam engine", DRIVES, "火车, 蒸汽火车"),
    "helicopter": ("🚁", "left", "helicopter", FLIES, "直升机"),
    "aeroplane": ("✈️", "", "airplane, plane, aeroplane", FLIES, "飞机"),
    "ship": ("🚢", "left", "ship, passenger ship, steamer", SAILS, "轮船, 大船"),
    "speedboat": ("🚤", "left", "speedboat, motorboat", SAILS, "快艇"),
    "canoe": ("🛶", "", "canoe", SAILS, "独木舟"),
    "flying saucer": ("🛸", "", "flying saucer, UFO", FLIES, "飞碟"),
    "skateboard": ("🛹", "", "skateboard", ROLLS, "滑板"),
    "parachute": ("🪂", "", "parachute, parachutist", DRIFTS, "降落伞"),
}
PLANTS: dict[str, GlyphRow] = {
    "mushroom": ("🍄", "", "mushroom, toadstool, red mushroom", DRIFTS, "蘑菇"),
    "sunflower": ("🌻", "", "sunflower", DRIFTS, "向日葵"),
    "tree": ("🌳", "", "tree, deciduous tree, leafy tree", SLIDES, "大树, 树"),
    "fir": ("🌲", "", "fir tree, evergreen tree, pine", SLIDES, "松树, 冷杉"),
    "palm": ("🌴", "", "palm tree, palm", SLIDES, "棕榈树"),
    "cactus": ("🌵", "", "cactus", SLIDES, "仙人掌"),
    "rose": ("🌹", "", "rose, red rose", DRIFTS, "玫瑰"),
    "tulip": ("🌷", "", "tulip", DRIFTS, "郁金香"),
    "hibiscus": ("🌺", "", "hibiscus, hibiscus flower", DRIFTS, "木槿花"),
    "cherry blossom": ("🌸", "", "cherry blossom, pink blossom", DRIFTS, "樱花"),
    "maple leaf": ("🍁", "", "maple leaf, red leaf", DRIFTS, "枫叶"),
    "clover": ("🍀", "", "clover, four leaf clover", DRIFTS, "四叶草"),
    "potted plant": ("🪴", "", "potted plant, plant in a pot", SLIDES, "盆栽"),
}
FOOD: dict[str, GlyphRow] = {
    "apple": ("🍎", "", "apple, red apple", ROLLS, "苹果"),
    "banana": ("🍌", "", "banana", SLIDES, "香蕉"),
    "tangerine": ("🍊", "", "tangerine, mandarin", ROLLS, "橘子"),
    "lemon": ("🍋", "", "lemon", ROLLS, "柠檬"),
    "watermelon": ("🍉", "", "watermelon, slice of watermelon", SLIDES, "西瓜"),
    "grapes": ("🍇", "", "bunch of grapes, purple grapes", SLIDES, "葡萄"),
    "strawberry": ("🍓", "", "strawberry", ROLLS, "草莓"),
    "cherries": ("🍒", "", "pair of cherries, cherry pair", ROLLS, "樱桃"),
    "pineapple": ("🍍", "", "pineapple", ROLLS, "菠萝"),
    "carrot": ("🥕", "", "carrot", SLIDES, "胡萝卜"),
    "maize": ("🌽", "", "ear of maize, corn cob", SLIDES, "玉米"),
    "broccoli": ("🥦", "", "broccoli", SLIDES, "西兰花"),
    "pizza": ("🍕", "", "slice of pizza, pizza", SLIDES, "披萨"),
    "hamburger": ("🍔", "", "hamburger, burger", SLIDES, "汉堡"),
    "fries": ("🍟", "", "box of french fries, pack of chips", SLIDES, "薯条"),
    "doughnut": ("🍩", "", "doughnut, donut", ROLLS, "甜甜圈"),
    "cookie": ("🍪", "", "cookie, biscuit", ROLLS, "饼干"),
    "cake": ("🎂", "", "birthday cake, cake", SLIDES, "生日蛋糕, 蛋糕"),
    "cupcake": ("🧁", "", "cupcake, muffin", SLIDES, "纸杯蛋糕"),
    "ice cream": ("🍦", "", "ice cream cone, soft ice cream", SLIDES, "冰淇淋"),
    "lollipop": ("🍭", "", "lollipop, lolly", ROLLS, "棒棒糖"),
    "cheese": ("🧀", "", "cheese wedge, piece of cheese", SLIDES, "奶酪"),
    "fried egg": ("🍳", "", "fried egg in a pan, frying pan", SLIDES, "煎蛋"),
}
OBJECTS: dict[str, GlyphRow] = {
    "balloon": ("🎈", "", "red balloon, balloon, toy balloon", DRIFTS, "红气球, 气球"),
    "gift": ("🎁", "", "wrapped present, gift", SLIDES, "礼物"),
    "umbrella": ("☔", "", "umbrella, umbrella with rain drops", DRIFTS, "雨伞"),
    "guitar": ("🎸", "", "guitar", SLIDES, "吉他"),
    "drum": ("🥁", "", "drum, drum with drumsticks", ROLLS, "鼓"),
    "trumpet": ("🎺", "", "trumpet", SLIDES, "小号"),
    "violin": ("🎻", "", "violin", SLIDES, "小提琴"),
    "books": ("📚", "", "pile of books, stack of books", SLIDES, "一摞书, 书"),
    "alarm clock": ("⏰", "", "alarm clock, clock", SLIDES, "闹钟"),
    "light bulb": ("💡", "", "light bulb", DRIFTS, "灯泡"),
    "key": ("🔑", "", "key", SLIDES, "钥匙"),
    "bell": ("🔔", "", "golden bell, bell", SLIDES, "铃铛"),
    "crown": ("👑", "", "crown, golden crown", SLIDES, "王冠"),
    "top hat": ("🎩", "", "top hat", SLIDES, "礼帽"),
    "kite": ("🪁", "", "kite", FLIES, "风筝"),
    "football": ("⚽", "", "soccer ball, football", ROLLS, "足球"),
    "basketball": ("🏀", "", "basketball", ROLLS, "篮球"),
    "telephone": ("☎️", "", "telephone, red telephone", SLIDES, "电话"),
    "paintbrush": ("🖌️", "", "paintbrush, brush", SLIDES, "画笔, 刷子"),
    "house": ("🏠", "", "house, little house", SLIDES, "房子"),
    "castle": ("🏰", "", "castle", SLIDES, "城堡"),
    "tent": ("⛺", "", "tent", SLIDES, "帐篷"),
    "lantern": ("🏮", "", "red lantern, paper lantern", DRIFTS, "灯笼, 红灯笼"),
    "trophy": ("🏆", "", "trophy, golden cup", SLIDES, "奖杯"),
    "die": ("🎲", "", "die, game die", ROLLS, "骰子"),
    "pumpkin": ("🎃", "", "jack-o-lantern, pumpkin", ROLLS, "南瓜灯, 南瓜"),
    "anchor": ("⚓", "", "anchor", SLIDES, "锚"),
    "treasure": ("💎", "", "gem, gem stone, diamond", SLIDES, "宝石, 钻石"),
    "shoe": ("👟", "", "running shoe, sneaker", SLIDES, "运动鞋"),
    "christmas tree": ("🎄", "", "christmas tree", SLIDES, "圣诞树"),
}
SKY: dict[str, GlyphRow] = {
    "sun": ("🌞", "", "sun, sun with a face", DRIFTS, "太阳"),
    "moon": ("🌙", "", "crescent moon", DRIFTS, "月牙"),
    "cloud": ("☁️", "", "cloud, white cloud", DRIFTS, "云, 白云"),
    "rainbow": ("🌈", "", "rainbow", DRIFTS, "彩虹"),
    "snowflake": ("❄️", "", "snowflake", DRIFTS, "雪花"),
    "lightning": ("⚡", "", "lightning bolt, flash of lightning", FLIES, "闪电"),
    "comet": ("☄️", "", "comet", FLIES, "彗星"),
    "tornado": ("🌪️", "", "tornado, whirlwind", DRIFTS, "龙卷风"),
    "earth": ("🌍", "", "planet earth, globe", ROLLS, "地球"),
    "saturn": ("🪐", "", "ringed planet, saturn", DRIFTS, "土星, 带环的行星"),
    "flame": ("🔥", "", "flame, fire", DRIFTS, "火焰, 火"),
}
UNSEEN_ROWS: dict[str, GlyphRow] = {
    "sauropod": ("🦕", "left", "sauropod, long-necked dinosaur", WALKS, "蜥脚龙, 长颈恐龙"),
}
SHAPES_ZH = {"ball": "球", "square": "方块", "star": "星星", "heart": "爱心"}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _subject(row: GlyphRow, kind: str) -> Subject:
    glyph, faces, names, verbs, zh = row
    own = unicodedata.name(glyph[0]).lower() if len(glyph.rstrip("\ufe0f")) == 1 else ""
    known = _words(names)
    extra = (own,) if own in UNICODE_NAMES_SPOKEN and own not in known else ()
    return Subject(names=(*known, *extra), zh=_words(zh), verbs=verbs, kind=kind, glyph=glyph, faces=faces)


def _shape(colour: str, shape: str, *nouns: str) -> Subject:
    return Subject(
        names=tuple(f"{colour} {n}" for n in (shape, *nouns)),
        zh=(f"{COLOURS_ZH[colour]}的{SHAPES_ZH[shape]}", f"{COLOURS_ZH[colour]}{SHAPES_ZH[shape]}"),
        verbs=ROLLS if shape == "ball" else SLIDES,
        kind="shape",
        shape=shape,
        colour=colour,
    )


# Unicode names that people would say; the rest ("bactrian camel", "oncoming automobile") are already told by synonyms.
UNICODE_NAMES_SPOKEN = frozenset({"bactrian camel", "tropical fish", "aerial tramway", "front-facing baby chick"})

GLYPHS: dict[str, Subject] = {
    key: _subject(row, kind)
    for kind, rows in {
        "animal": ANIMALS,
        "person": PEOPLE,
        "vehicle": VEHICLES,
        "plant": PLANTS,
        "food": FOOD,
        "object": OBJECTS,
        "sky": SKY,
    }.items()
    for key, row in rows.items()
}
SHAPES: dict[str, Subject] = {
    f"{colour} {shape}": _shape(colour, shape, *nouns)
    for shape, nouns, colours in (
        ("ball", ("sphere",), ("red", "blue", "green", "yellow", "purple", "orange")),
        ("square", ("box", "cube"), ("red", "blue", "green", "yellow", "purple", "orange")),
        ("star", (), ("red", "blue", "green", "yellow", "purple", "orange")),
        ("heart", (), ("red", "blue", "green", "yellow", "purple", "pink")),
    )
    for colour in colours
}
SUBJECTS: dict[str, Subject] = {**GLYPHS, **SHAPES}

# Whose picture has no gaps in the middle: what passes behind them is hidden.
SOLID = frozenset(
    (
        *("fish", "snail", "sheep", "frog", "ladybird", "panda", "lion", "fox", "bear", "koala", "shell"),
        *("santa", "baby", "astronaut", "ghost", "robot", "clown", "ship", "hibiscus", "cherry blossom", "apple"),
        *("tangerine", "strawberry", "broccoli", "hamburger", "doughnut", "cookie", "cupcake", "gift", "drum"),
        *("books", "alarm clock", "bell", "top hat", "football", "basketball", "telephone", "house", "lantern"),
        *("die", "pumpkin", "sun", "earth", "red ball", "blue ball", "green ball", "yellow ball", "purple ball"),
        *("orange ball", "red square", "blue square", "green square", "yellow square", "purple square"),
        *("orange square"),
    )
)

# Drawn by the same hand, in no world: what a model is taught later, from a few clips.
UNSEEN: dict[str, Subject] = {key: _subject(row, "animal") for key, row in UNSEEN_ROWS.items()}
