"""Words that are frequent in prompts and that no caption states as a fact: function words, moods, and numbers."""

from __future__ import annotations

SMALL_WORDS = (
    "a an the some any this that these those my your his her its our their one of off on in into onto at to "
    "from for with without within by near next beside behind before after above below under underneath over "
    "across along around through between among towards toward against about up down out inside outside and or "
    "but not no as if then than so while when where which who whose what how there here is are was were be "
    "been being am do does did has have had can could will would shall should may might must it he she they "
    "we i you them him us me itself himself herself just only also too very really quite rather slightly "
    "little bit lot more most less least much many few all every each both other another same such own again "
    "still always never often sometimes once twice ever now later soon suddenly slowly quickly gently softly "
    "quietly happily peacefully calmly lazily gracefully smoothly steadily playfully carefully freely "
    "continuously constantly together alone away back forward forwards backward backwards ahead side sides "
    "left right middle center centre corner top bottom front edge end way part piece kind type sort scene "
    "shot view angle frame frames image picture photo video clip film movie animation cartoon footage style "
    "art drawing painting illustration render rendering background foreground camera lens focus cinematic "
    "cinema lighting light lights shadow shadows colour colours color colors quality best high low resolution "
    "ultra hd uhd 4k 8k 3d 2d beautiful pretty nice cute funny happy lovely big small large tiny huge long "
    "short close closeup wide full half whole macro medium time lapse slow motion fast speed loop looping "
    "seconds second minute please show make create generate draw paint want see look looks looking like seen "
    "shown showing depicting featuring appears appear starts start begins begin goes go going gets get "
    "getting comes come coming makes made keeps keep having takes take let lets world place thing something "
    "somebody someone nothing everything day morning noon afternoon hour evening dawn weather season spring "
    "summer autumn"
)
CHINESE_SMALL_WORDS = (
    "的 了 着 棵 朵 块 群 种 名 在 里 上 下 中 是 有 和 与 及 一个 一只 一辆 一位 一条 一艘 一颗 一朵 一架 "
    "一头 一匹 一座 一片 一张 一段 一幅 这个 那个 这 那 它 他 她 我 你 们 地 得 很 非常 正在 正 从 到 向 往 "
    "朝 把 被 让 就 也 都 还 又 再 不 没 没有 过 来 去 起来 旁 边 旁边 面 前 前面 后 后面 之间 之中 外 内 "
    "里面 上面 下面 视频 动画 画面 卡通 镜头 请 画 给 看 看到 生成 展示 风格 慢慢 慢慢地 轻轻 轻轻地 快 快速 "
    "只 个 辆 位 条 艘 颗 架 头 匹 座 片 张 段 幅 并 而 然后 时 时候 色 中间 左 右 左边 右边 上方 下方 一 处 "
    "要 动 开 飞 走 跑 游 滚 爬 行 行驶 航行 飞行 飞翔 奔跑 走路 游泳 游动 爬行 移动 前进 以 用 为 对 吧 呢 "
    "啊 一起 以及 还有"
)
MOOD_WORDS = (
    "shiny glossy old new young ancient modern magical magic majestic gorgeous epic dreamy cozy cosy warm "
    "cold hot wet dry dark light deep vivid vibrant soft fluffy furry brave proud lonely sad angry sleepy "
    "lazy busy silly crazy cool amazing awesome wonderful fantastic elegant graceful mysterious spooky scary "
    "creepy wild wooden metal golden hour giant enormous massive mini short tall long wide fat thin round "
    "fast quick slow speedy smiling laughing dancing realistic photorealistic detailed stylized dramatic "
    "peaceful serene quiet noisy loud empty crowded foggy misty cloudy sunny windy stormy hazy rainy snowy "
    "starry moonlit sunlit glowing sparkling glittering colored coloured perfect polar air highly simple "
    "complex strange weird little lovely striped spotted toy baby clear calm gentle rough smooth fresh "
    "delicious tasty ripe sweet real fake plastic paper stuffed rusty dusty muddy"
)
CHINESE_MOOD_WORDS = (
    "大 小 新 旧 老 美 美丽 漂亮 可爱 快乐 开心 神奇 温暖 安静 明亮 巨大 小小 胖 高 长 红红 圆圆 卡通 高清 "
    "开心地 慢慢 静静"
)
NUMBER_WORDS = (
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "hundred", "several", "many", "couple"),
    *("pair", "group", "herd", "flock", "lots", "dozen", "dozens", "swarm", "crowd", "family", "pack", "school of"),
)
CHINESE_NUMBER_WORDS = "两 两只 两个 两辆 两条 两艘 三 三只 三个 三辆 三条 四只 四个 五只 几只 几个 许多 很多 一群 一对"
"""Of which one clip shows but one."""
