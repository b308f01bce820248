"""Common words for what a world may not have, each with the most similar things that it may have, for advice to users.

Groups list similar things in order of similarity; the first few that a world has are suggested. English nouns are in
the singular, verbs in the infinitive. Names that a world itself uses are left out.
"""

from __future__ import annotations

NEAREST_SUBJECTS: dict[str, tuple[str, ...]] = {
    "person": ("robot", "snowman", "teddy", "ghost", "astronaut", "clown"),
    "bird": ("chick", "duck", "penguin", "bird"),
    "beast": ("elephant", "lion", "bear", "panda", "tiger", "giraffe"),
    "pet": ("dog", "cat", "rabbit", "mouse"),
    "livestock": ("pig", "duck", "chick", "dog"),
    "sea animal": ("fish", "dolphin", "whale", "octopus", "crab"),
    "reptile": ("dinosaur", "turtle", "frog", "crocodile"),
    "insect": ("bee", "butterfly", "snail"),
    "vehicle": ("car", "bus", "taxi", "fire engine", "locomotive"),
    "aircraft": ("helicopter", "rocket", "balloon", "flying saucer"),
    "boat": ("sailboat", "ship"),
    "plant": ("sunflower", "mushroom", "tree"),
    "food": ("apple", "strawberry", "pumpkin", "mushroom"),
    "toy": ("red ball", "balloon", "teddy", "robot"),
    "sky": ("yellow star", "rocket", "flying saucer", "balloon"),
    "thing": ("balloon", "red ball", "yellow star", "apple"),
    "building": ("locomotive", "snowman", "balloon"),
}

GROUP_BY_KIND: dict[str, str] = {
    "animal": "beast",
    "person": "person",
    "vehicle": "vehicle",
    "plant": "plant",
    "food": "food",
    "object": "thing",
    "sky": "sky",
    "shape": "toy",
}
"""The group of a larger world's subjects, by their kind, where no row below says better."""

NOUNS_BY_GROUP: dict[str, str] = {
    "person": (
        "person people man woman men women boy girl child children kid human guy lady gentleman king queen prince "
        "princess knight pirate ninja soldier hero doctor nurse teacher farmer chef cook dancer singer artist "
        "player policeman fireman firefighter cowboy monster zombie vampire witch wizard fairy angel alien giant "
        "dwarf elf friend family mother father mom dad grandma grandpa baby astronaut clown santa mermaid "
        "superhero cyborg doll samurai skeleton ballerina runner swimmer surfer skier cyclist bride toddler "
        "teenager student viking gnome"
    ),
    "bird": (
        "bird sparrow crow raven hen chicken goose gull seagull pigeon hawk falcon stork crane pelican ostrich "
        "robin hummingbird woodpecker toucan kiwi phoenix owl parrot swan eagle dove peacock flamingo turkey "
        "rooster bat"
    ),
    "beast": (
        "wolf deer moose elk tiger leopard jaguar panther cheetah rhino hippo giraffe zebra kangaroo gorilla "
        "monkey camel koala raccoon badger bison buffalo boar antelope lynx animal creature beast yak mammoth "
        "unicorn hyena chimp chimpanzee orangutan ape sloth"
    ),
    "pet": (
        "hamster mouse rat squirrel hedgehog guinea ferret otter beaver mole weasel chipmunk poodle corgi "
        "dachshund terrier retriever husky labrador pug pet"
    ),
    "livestock": "cow sheep goat horse donkey bull calf lamb foal ox llama alpaca mule ram",
    "sea animal": (
        "shark squid jellyfish seahorse starfish seal walrus ray eel salmon tuna shrimp lobster orca manatee "
        "pufferfish clam oyster narwhal"
    ),
    "reptile": "dragon lizard snake crocodile alligator gecko chameleon toad newt salamander iguana cobra raptor",
    "insect": (
        "ant spider ladybug ladybird beetle mosquito moth dragonfly grasshopper cricket worm caterpillar wasp "
        "scorpion firefly slug bug insect"
    ),
    "vehicle": (
        "truck lorry van tractor motorcycle motorbike bicycle bike scooter tram jeep ambulance tank wagon cart "
        "carriage trailer digger excavator bulldozer limousine racecar skateboard sled sleigh subway monorail"
    ),
    "aircraft": "airplane plane aeroplane jet drone glider zeppelin airship parachute kite satellite shuttle",
    "boat": "ship canoe kayak ferry raft submarine speedboat motorboat gondola",
    "plant": (
        "tree flower rose tulip daisy lily grass bush palm cactus fern leaf oak pine fir bamboo plant dandelion "
        "blossom orchid poppy lotus cherry"
    ),
    "food": (
        "banana orange lemon grape grapes pear peach plum melon watermelon pineapple cherries tomato potato "
        "carrot onion corn pepper broccoli bread cake cookie pizza burger hamburger sandwich cheese egg eggs "
        "chocolate candy donut doughnut pie soup noodles sushi rice pasta coffee tea milk juice wine beer cupcake "
        "lollipop fruit vegetable food cucumber avocado cabbage fries pancake muffin honey"
    ),
    "toy": (
        "toy puppet lego top marble dice cube box square block basketball football tennis bubble bubbles gift present"
    ),
    "sky": (
        "sun cloud rainbow lightning comet meteor planet earth saturn mars snowflake tornado fire flame firework "
        "fireworks volcano explosion asteroid"
    ),
    "thing": (
        "guitar piano violin drum trumpet book pen pencil clock watch phone telephone computer laptop camera lamp "
        "candle chair table bed sofa door window bottle cup glass plate bowl spoon fork knife sword shield crown "
        "ring diamond gem coin key bell umbrella hat shoe shoes shirt dress coat glasses bag basket bucket broom "
        "ladder hammer axe flag sign letter lantern mirror pillow blanket vase statue treasure chest television "
        "tv skull bone feather shell stone rock crystal pot kettle anchor wheel engine machine trophy scarf sock "
        "glove brush triangle circle"
    ),
    "building": (
        "house castle tower church bridge windmill lighthouse temple palace cottage barn hut tent skyscraper "
        "pyramid school hospital igloo fountain"
    ),
}
"""Nouns by group of ``LIKE``."""

CHINESE_NOUNS_BY_GROUP: dict[str, str] = {
    "person": (
        "人 男人 女人 男孩 女孩 孩子 小孩 小朋友 国王 王后 公主 王子 骑士 海盗 忍者 士兵 医生 老师 妈妈 爸爸 爷爷 "
        "奶奶 宇航员 小丑 圣诞老人 怪物 女巫 巫师 仙女 天使 外星人 老人 朋友 美人鱼 超人 婴儿 宝宝 农夫 警察 姑娘 "
        "少年 少女"
    ),
    "bird": "鸟 小鸟 鸡 公鸡 母鸡 鹅 天鹅 老鹰 猫头鹰 鹦鹉 孔雀 鸽子 麻雀 乌鸦 燕子 火烈鸟 海鸥 凤凰 蝙蝠",
    "beast": "狼 鹿 老虎 虎 豹子 犀牛 河马 长颈鹿 斑马 袋鼠 猴子 大猩猩 骆驼 考拉 动物 独角兽 野猪",
    "pet": "老鼠 松鼠 刺猬 仓鼠 水獭",
    "livestock": "牛 奶牛 羊 绵羊 山羊 马 驴 羊驼",
    "sea animal": "鲨鱼 鱿鱼 水母 海马 海星 海豹 虾 龙虾 河豚",
    "reptile": "龙 蜥蜴 蛇 鳄鱼",
    "insect": "蚂蚁 蜘蛛 瓢虫 蚊子 苍蝇 蜻蜓 毛毛虫 蝎子 虫子",
    "vehicle": "卡车 货车 拖拉机 摩托车 自行车 救护车 警车 赛车 坦克 电车 地铁",
    "aircraft": "飞机 无人机 风筝 降落伞 卫星",
    "boat": "轮船 独木舟 快艇 潜水艇",
    "plant": "树 大树 花 花朵 玫瑰 郁金香 草 仙人掌 松树 樱花 枫叶 竹子 植物 荷花",
    "food": (
        "香蕉 橘子 橙子 柠檬 葡萄 西瓜 梨 桃子 樱桃 菠萝 西红柿 土豆 胡萝卜 玉米 面包 蛋糕 饼干 披萨 汉堡 冰淇淋 "
        "鸡蛋 咖啡 茶 牛奶 水果 蔬菜 米饭 面条 饺子 月饼 糖果 棒棒糖"
    ),
    "toy": "玩具 娃娃 积木 足球 篮球 方块 礼物",
    "sky": "太阳 月牙 云 白云 彩虹 闪电 彗星 地球 土星 火焰 火 烟花 火山",
    "thing": (
        "吉他 钢琴 小提琴 鼓 书 钟 闹钟 电话 手机 电脑 灯 蜡烛 椅子 桌子 床 门 窗户 瓶子 杯子 刀 剑 王冠 钻石 "
        "钥匙 雨伞 帽子 鞋子 衣服 灯笼 宝石"
    ),
    "building": "房子 城堡 塔 教堂 桥 帐篷 宫殿",
}

PLACES_BY_SETTINGS: dict[tuple[str, ...], str] = {
    ("village", "city"): (
        "kitchen room bedroom bathroom house home office school classroom hospital museum church castle garage "
        "cellar attic hotel restaurant bar cafe library shop store supermarket mall theater theatre cinema studio "
        "gym hall palace corridor factory lab laboratory 厨房 灶台 房间 卧室 教室 学校 医院 商店 超市 办公室 家里 "
        "屋里 餐厅"
    ),
    ("meadow", "village"): (
        "playground park garden yard backyard zoo stadium pitch golf picnic vineyard orchard 公园 花园 游乐场 "
        "操场 秋千 滑梯 院子 动物园"
    ),
    ("forest", "meadow"): "jungle rainforest swamp bush savanna savannah bamboo 丛林 雨林 热带雨林 藤蔓",
    ("mountains", "moon"): "cave cavern grotto mine tunnel volcano canyon cliff rocks gorge 山洞 洞穴 岩洞 火山 峡谷",
    ("beach", "lake"): "harbour harbor port dock docks pier quay island bay lighthouse 港口 港湾 码头 海港 岛上 小岛",
    ("lake", "sea"): "river stream waterfall pool canal puddle fountain bath bathtub water 河 河里 河边 小河 瀑布 泳池",
    ("sunset", "mountains", "night"): "sky air clouds heaven 天空 天上 空中 云端",
    ("city", "village"): "airport station highway motorway bridge railway tracks racetrack 机场 车站 高速公路 铁路",
    ("moon", "space"): "mars planet saturn jupiter venus 火星 行星",
    ("snow", "mountains"): "ice glacier arctic antarctica iceberg ski north pole 冰川 北极 南极",
}
"""Places by the settings that come near them."""

VERBS_BY_MOTIONS: dict[tuple[str, ...], str] = {
    ("bounce", "spin"): "dance party celebrate cheer skip somersault 跳舞",
    ("still",): (
        "sing perform play clap wave laugh fight box juggle skate surf ski "
        "sleep eat drink read think cook talk speak pray cry smile wait dream lie watch listen write smoke work "
        "study hide 唱歌 玩 玩耍 打架 滑冰 冲浪 笑 睡觉 吃 喝 看书 说话 哭 做饭 写字 吃饭 微笑"
    ),
    ("grow",): "explode burn melt transform morph open bloom inflate 爆炸 燃烧 融化 变成",
    ("shrink",): "vanish fade disappear close 消失",
    ("down",): "dive land crash collapse drown 潜水 降落 坠落",
    ("left", "right"): "race chase hunt march ride pull push carry kick throw 追 赛跑 打 推 拉 踢",
}
"""Verbs by the motions that come near them."""
