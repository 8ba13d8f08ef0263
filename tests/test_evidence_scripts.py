"""Evidence in scripts that set no spaces between words."""

import pytest

from text2expert.evidence import check, locate

CHINESE = (
    "3.1 奥尔伦厂的主泵在运行20分钟后必须停止，除非值班工程师书面同意。备用密封件在B厅的绿色柜中保存12个月。\n"
    "3.2 入口压力超过6巴时打开旁通阀；压力低于4巴时关闭。阀门每年检查两次，由机械师记录结果。\n"
    "3.3 报警后3天内更换过滤器，油温不得超过80°C。"
)
JAPANESE = "ポンプは20分運転した後に停止する。ただし、当直技師が許可した場合を除く。油温は80°Cを超えてはならない。"


@pytest.mark.parametrize(
    ("passage", "quote", "question", "answer", "altered"),
    [
        (
            CHINESE, "奥尔伦厂的主泵在运行20分钟后必须停止，除非值班工程师书面同意。",
            "主泵（奥尔伦厂）几分钟后要停？", "主泵在运行20分钟后必须停止，除非值班工程师书面同意。", ("20", "30"),
        ),
        (
            CHINESE, "备用密封件在B厅的绿色柜中保存12个月。",
            "备用密封件要保存多长时间？", "备用密封件保存12个月，放在B厅的绿色柜中。", ("12", "18"),
        ),
        (CHINESE, "入口压力超过6巴时打开旁通阀", "什么时候打开旁通阀？", "当入口压力超过6巴时，打开旁通阀。", ("6", "9")),
        (CHINESE, "报警后3天内更换过滤器", "报警后多少天内要更换过滤器？", "报警后3天内要更换过滤器。", ("3", "5")),
        (CHINESE, "油温不得超过80°C。", "油温的上限是多少？", "油温不得超过80°C。", ("80", "90")),
        (CHINESE, "由机械师记录结果", "谁记录阀门检查的结果？", "机械师记录阀门检查的结果。", ("机械师", "财务总监")),
        (JAPANESE, "ポンプは20分運転した後に停止する。", "ポンプは何分運転した後に停止するか？", "ポンプは20分運転した後に停止する。", ("20", "30")),
    ],
)  # fmt: skip
def test_characters_count_as_words(passage, quote, question, answer, altered):
    """Reworded answers pass; those with another number, or with somebody of whom nothing is said, do not."""
    found = check(question, answer, passage, quote=quote)
    assert found.supported, found.reason
    assert (found.start, found.end) == locate(quote, passage)
    changed = answer.replace(*altered)
    assert changed != answer
    assert not check(question, changed, passage, quote=quote).supported
