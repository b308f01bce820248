"""Phrases for motions: finite English ones ("rises up"), participles and other forms, bare ones for terse captions, and
Chinese.

``{verb}`` stands for the subject's own verb, ``{side}`` and ``{other}`` for a direction and its opposite.
"""

from __future__ import annotations

FINITE: dict[str, tuple[str, ...]] = {
    "left": (
        *("{verb} to the {side}", "{verb} {side}", "{verb} {side}wards", "{verb} from {other} to {side}"),
        *("{verb} towards the {side}", "{verb} slowly to the {side}", "{verb} to the {side} hand side"),
        *(
            "{verb} to the {side} side",
            "{verb} over to the {side}",
            "{verb} {side}ward",
            "{verb} off towards the {side}",
        ),
        *("crosses the picture from {other} to {side}", "heads {side}", "passes by from {other} to {side}"),
        *("{verb} across the picture to the {side}", "{verb} toward the {side}"),
    ),
    "up": (
        *("rises", "floats up", "flies up", "goes up", "moves up", "climbs up", "moves upwards", "rises up"),
        *("soars up", "lifts off", "drifts up", "goes upwards", "goes upward", "climbs", "moves to the top", "ascends"),
        *("flies upwards", "rises into the air", "takes off"),
    ),
    "down": (
        *("falls", "descends", "sinks", "drops down", "falls down", "moves down", "floats down", "goes down"),
        *("comes down", "drifts down", "goes downwards", "goes downward", "sinks down", "drops", "moves downwards"),
        *("moves to the bottom", "lowers itself"),
    ),
    "bounce": (
        *("bounces", "jumps", "hops", "bounces up and down", "jumps up and down", "hops up and down"),
        *("keeps bouncing", "keeps jumping", "leaps up again and again", "bobs up and down", "jumps for joy"),
    ),
    "spin": (
        *(
            "spins",
            "rotates",
            "spins around",
            "turns in circles",
            "whirls",
            "rolls over",
            "turns around",
            "spins round",
        ),
        *("twirls", "turns round and round", "rotates in place", "whirls around", "turns upside down", "pirouettes"),
    ),
    "grow": (
        *("grows", "gets bigger", "comes closer", "grows bigger", "gets larger", "becomes bigger", "approaches"),
        *("grows large", "becomes larger", "comes nearer", "grows larger", "comes towards us", "swells"),
    ),
    "shrink": (
        *("shrinks", "gets smaller", "goes away", "becomes smaller", "moves away", "grows smaller", "becomes small"),
        *("shrinks away", "gets tiny", "gets further away", "moves into the distance", "becomes tiny"),
    ),
    "still": (
        *("stands still", "sits still", "waits", "does not move", "rests", "stays still", "stays in place"),
        *("keeps still", "stands", "is resting", "holds still", "remains still", "stays where it is", "sits"),
        *("is standing still", "is not moving"),
    ),
    "walk-left": (
        *("walks to the {side}", "walks {side}", "strolls to the {side}", "runs to the {side}", "runs {side}"),
        *("walks from {other} to {side}", "marches {side}", "trots to the {side}", "wanders to the {side}"),
        *("goes for a walk to the {side}", "walks towards the {side}", "strolls {side}", "takes steps to the {side}"),
    ),
    "swim-left": (
        *("swims to the {side}", "swims {side}", "swims from {other} to {side}", "paddles to the {side}"),
        *("swims along to the {side}", "swims towards the {side}", "swims in waves to the {side}", "paddles {side}"),
    ),
    "arc-left": (
        *("flies in an arc to the {side}", "leaps to the {side}", "flies in a high curve to the {side}"),
        *("jumps in an arc to the {side}", "soars in an arc from {other} to {side}", "makes a big leap to the {side}"),
        *("is thrown in an arc to the {side}", "curves through the air to the {side}", "jumps over to the {side}"),
    ),
    "fall": (
        *("tumbles down", "falls tumbling", "tumbles from the sky", "falls head over heels", "tumbles to the ground"),
        *("topples and tumbles down", "falls and tumbles", "tumbles through the air", "tumbles"),
    ),
    "roll-left": (
        *("rolls to the {side}", "rolls {side}", "rolls from {other} to {side}", "rolls along to the {side}"),
        *("rolls over and over to the {side}", "rolls like a wheel to the {side}", "rolls towards the {side}"),
    ),
    "enter-left": (
        *("enters from the {side}", "comes in from the {side}", "appears from the {side}", "arrives from the {side}"),
        *("comes into view from the {side}", "enters the scene from the {side}", "comes in from the {side} side"),
        *("walks in from the {side}", "slides into the picture from the {side}"),
    ),
    "leave-left": (
        *("leaves to the {side}", "goes out to the {side}", "disappears to the {side}", "exits to the {side}"),
        *(
            "leaves the picture on the {side}",
            "goes off on the {side}",
            "exits {side}",
            "leaves the scene to the {side}",
        ),
        *("vanishes to the {side}", "walks out on the {side}"),
    ),
}
"""Of a pair of motions to the left and to the right, only the left one stands here."""

PARTICIPLES: dict[str, tuple[str, ...]] = {
    "left": ("moving {side}", "moving to the {side}", "on its way to the {side}", "going {side}", "travelling {side}"),
    "up": ("going upwards", "moving up", "on its way up", "flying up", "in the air going up"),
    "down": ("sinking down", "going downwards", "moving down", "on its way down", "falling down"),
    "bounce": ("jumping up and down", "bouncing up and down", "jumping", "hopping"),
    "spin": ("turning around", "is spinning", "spinning around", "in a spin"),
    "grow": ("becoming larger", "coming closer", "getting bigger", "growing"),
    "shrink": ("becoming smaller", "getting smaller", "moving away", "shrinking"),
    "still": ("standing still", "not moving", "resting", "waiting", "at rest", "motionless", "sitting"),
    "walk-left": ("on a walk to the {side}", "walking along to the {side}"),
    "swim-left": ("swimming along to the {side}",),
    "arc-left": ("in a high arc to the {side}", "in an arc to the {side}"),
    "fall": ("tumbling down", "in a tumble"),
    "roll-left": ("rolling along to the {side}",),
    "enter-left": ("coming in from the {side}", "entering {side}"),
    "leave-left": ("leaving to the {side}", "on its way out to the {side}"),
}

BARE: dict[str, tuple[str, ...]] = {
    "left": ("{side}", "to the {side}", "moving {side}", "{side}wards", "going {side}", "{other} to {side}"),
    "up": ("up", "upwards", "rising", "going up"),
    "down": ("down", "downwards", "falling", "sinking", "going down"),
    "bounce": ("bounce", "bouncing", "jumping", "jump", "hopping"),
    "spin": ("spin", "spinning", "rotating", "turning", "rotation"),
    "grow": ("grow", "growing", "bigger", "getting bigger", "closer"),
    "shrink": ("shrink", "shrinking", "smaller", "getting smaller", "away"),
    "still": ("still", "standing still", "not moving", "resting", "motionless"),
    "walk-left": ("walk {side}", "walking {side}", "running {side}"),
    "swim-left": ("swim {side}", "swimming {side}"),
    "arc-left": ("arc {side}", "leap {side}", "arc to the {side}"),
    "fall": ("tumbling", "tumble", "tumbling down"),
    "roll-left": ("roll {side}", "rolling {side}"),
    "enter-left": ("enter {side}", "enters from {side}", "entering from the {side}"),
    "leave-left": ("leave {side}", "exit {side}", "leaving {side}"),
}

CHINESE: dict[str, tuple[str, ...]] = {
    "left": (
        *(
            "向 {side} 移动",
            "往 {side} 移动",
            "向 {side} 前进",
            "从 {other} 往 {side} 移动",
            "朝 {side} 移动",
            "往 {side} 去",
        ),
        *("向 {side} 边 移动", "从 {other} 边 到 {side} 边", "慢慢 地 向 {side} 移动", "朝 {side} 边 去"),
    ),
    "up": ("向上 移动", "往上 升", "升 起来", "上升", "向上 飞", "往上 飞", "慢慢 升起", "飞 上去"),
    "down": ("向下 移动", "往下 落", "落 下来", "下降", "往下 沉", "掉 下来", "向下 落", "慢慢 落下"),
    "bounce": ("跳 来 跳 去", "跳跃", "上下 跳动", "弹跳", "蹦蹦跳跳", "跳 上 跳 下", "弹 来 弹 去"),
    "spin": ("旋转", "转圈", "转动", "打转", "转 来 转 去", "原地 旋转", "不停 地 转圈"),
    "grow": ("变大", "越来越 大", "靠近", "慢慢 变大", "长大", "越来越 近", "向 我们 靠近"),
    "shrink": ("变小", "越来越 小", "远去", "慢慢 变小", "缩小", "越来越 远", "离开 我们"),
    "still": ("静止 不动", "不动", "站着 不动", "停 在 那里", "休息", "一动不动", "静静 地 待着"),
    "walk-left": (
        "向 {side} 走",
        "往 {side} 走",
        "向 {side} 跑",
        "朝 {side} 走",
        "往 {side} 边 走 去",
        "从 {other} 往 {side} 走",
    ),
    "swim-left": ("向 {side} 游", "往 {side} 游", "朝 {side} 游 去", "从 {other} 往 {side} 游", "向 {side} 边 游泳"),
    "arc-left": ("沿 弧线 向 {side} 飞", "划 出 弧线 往 {side} 飞", "高高 跃 向 {side} 边", "弧线 飞 向 {side} 边"),
    "fall": ("翻滚 着 落下", "翻 着 跟头 掉 下来", "翻滚 下落", "打滚 着 往下 掉"),
    "roll-left": ("向 {side} 滚", "往 {side} 滚动", "朝 {side} 滚 去", "从 {other} 往 {side} 滚"),
    "enter-left": ("从 {side} 边 进来", "从 {side} 边 进入 画面", "从 {side} 边 出现", "从 {side} 侧 进场"),
    "leave-left": (
        "从 {side} 边 离开",
        "从 {side} 边 出去",
        "从 {side} 边 离开 画面",
        "消失 在 {side} 边",
        "从 {side} 侧 退场",
    ),
}

CHINESE_GAITS = (
    "向 {side} 走",
    "往 {side} 走",
    "向 {side} 跑",
    "向 {side} 游",
    "往 {side} 开",
    "向 {side} 滚",
    "向 {side} 飞",
)
"""For worlds in which walking, swimming and rolling are not motions of their own."""

PLAIN_VERBS = ("moves", "goes", "travels", "glides", "slides")
GAITS = ("walks", "runs", "strolls", "swims", "rolls", "trots", "marches", "paddles", "wanders", "jogs", "gallops")
"""Verbs that are motions of their own where a world has those motions."""


def split_side(motion: str) -> tuple[str, str, str]:
    """(key in the tables here, side, the opposite side): ("walk-left", "right", "left") for walk-right."""
    side = motion.rpartition("-")[2]
    if side not in ("left", "right"):
        return motion, "", ""
    return motion.removesuffix(side) + "left", side, "right" if side == "left" else "left"
