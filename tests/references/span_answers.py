"""Short answers in several languages, as (language, accepted, written), for published scorers of extracted answers and ours alike."""

from __future__ import annotations

CHINESE = (
    ("急性阑尾炎", "急性阑尾炎"),
    ("急性阑尾炎", "阑尾炎"),
    ("发热。", "发热"),
    ("“肺炎”（左下叶）", "左下叶肺炎"),
    ("阿司匹林，氯吡格雷", "阿司匹林、氯吡格雷"),
    ("每日服用两次", "每日服用三次"),
    ("胰岛素抵抗", "高血压"),
    ("心肌梗死后三个月", "三个月后心肌梗死"),
)
OTHERS = (
    ("zh", "ＡＣＥ抑制剂 captopril", "ACE抑制剂 captopril"),
    ("hi", "उच्च रक्तचाप।", "उच्च रक्तचाप"),
    ("hi", "मधुमेह और उच्च रक्तचाप", "उच्च रक्तचाप"),
    ("vi", "tăng huyết áp", "Tăng huyết áp!"),
    ("ar", "ضغط دم مرتفع؟", "ضغط دم مرتفع"),
    ("ar", "ضغط دم مرتفع", "دم مرتفع"),
    ("es", "hipertensión arterial grave", "¿hipertensión arterial?"),
    ("de", "akute Pankreatitis", "„akute“ Pankreatitis"),
    ("en", "left lower lobe pneumonia", "pneumonia, left lobe"),
)
DIFFERENT = (  # signs and decimal points are punctuation to those scorers
    ("zh", "1.5毫克", "15毫克"),
    ("en", "-2 dioptres", "2 dioptres"),
    ("en", "hepatitis A", "hepatitis"),
)
CASES = (*(("zh", *pair) for pair in CHINESE), *OTHERS, *DIFFERENT)
