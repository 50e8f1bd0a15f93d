"""Run the owners' own decoding and answer code on texts a network may say, and store what it keeps and reads of them.

    python -m tests.references.make_answers FOLDER > tests/data/expected/answers.json

FOLDER holds checkouts as ``make_prompts`` needs them, and ``medical-evaluation`` (BIDS-Xu-Lab/medical-evaluation). The owners'
scripts run with small tokenizers and with networks that say what ``SAID`` holds (BenTsao's also with a network of recipe weights
and its adapter, which transformers' own beam search then decodes); each ``generate`` records the words it was called with.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers

from tests.models import published as pub
from tests.references.answer_cases import SAID, TOKENS, tokenizers
from tests.references.make_prompts import SOURCES as PROMPT_SOURCES
from tests.references.make_prompts import Recorder, load, quiet, replies, standing_in
from tests.references.prompt_cases import SEQUENCES, medqa, small_tokenizers

ROWS = ("bentsao", "pulse", "taiyi", "chemdfm", "biomedgpt", "omnina", "me-llama", "biomistral", "clinical-t5", "chatdoctor", "medalpaca", "mmedlm-2")  # fmt: skip
SOURCES = {
    **{row: PROMPT_SOURCES[row] for row in ROWS},
    "me-llama generation": "github.com/BIDS-Xu-Lab/medical-evaluation@47c8446714db5d8577e386160bcaf9678a9bccc5",
}
LETTERS, DECISIONS, RELATIONS = ["A", "B", "C", "D", "E"], ["yes", "no", "maybe"], ["entailment", "contradiction", "neutral"]  # fmt: skip
PLAIN = (int, float, bool, str, type(None))


class Says:
    """A network that says the same ids, whatever it is asked, and keeps the words of each call."""

    def __init__(self, said: list[int], behind_input: bool = True) -> None:
        self.said, self.behind_input = said, behind_input
        self.words: dict[str, Any] = {}

    def generate(self, *given: Any, **words: Any) -> torch.Tensor:
        self.words = {k: v for k, v in words.items() if isinstance(v, PLAIN)}
        ids = next((one for one in (*given, words.get("input_ids"), words.get("inputs")) if one is not None), None)
        new = torch.tensor([self.said])
        return torch.cat([ids, new], dim=1) if self.behind_input and ids is not None else new


# The rows -------------------------------------------------------------------------------------------------------------


def bentsao(root: Path) -> dict[str, Any]:
    folder = root / "Huatuo-Llama-Med-Chinese"
    kept: dict[str, Any] = {}
    with contextlib.chdir(folder), mock.patch.object(sys, "path", [str(folder), *sys.path]):
        with standing_in():
            own = load(folder / "infer.py")
        for name, file in (("med", "med_template"), ("bloom", "bloom_deploy"), ("literature", "literature_template")):
            prompter = own.Prompter(file)
            asked = prompter.generate_prompt(medqa()[0].question)
            kept[f"bentsao {name}"] = [
                prompter.get_response(f"<s> {asked}{one}</s>") for one in SAID[f"bentsao {name}"]
            ]
        kept["bentsao searched"] = [
            text
            for name, template in (("bentsao", "med_template"), ("bentsao:bloom", "bloom_deploy"))
            for text in _bentsao_searched(own, name, template)
        ]
    return kept


def _bentsao_searched(own: ModuleType, name: str, template: str) -> list[str]:
    """What ``infer.py`` prints for two questions, with a published-form adapter on disk, in float32 on the CPU."""
    from peft import PeftModel

    def whole(path: str, **_: Any) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)

    seen: list[str] = []
    with tempfile.TemporaryDirectory() as made:
        weights = pub.bentsao_adapter(Path(made), name)
        questions = Path(made) / "asked.json"
        rows = [json.dumps({"instruction": q.question, "output": ""}) for q in medqa()[:2]]
        questions.write_text("\n".join(rows))
        own.device, own.print = "cpu", lambda *text: seen.append(" ".join(map(str, text)))
        own.AutoModelForCausalLM = SimpleNamespace(from_pretrained=whole)
        own.PeftModel = SimpleNamespace(from_pretrained=lambda model, path, **_: PeftModel.from_pretrained(model, path))
        with (
            mock.patch.object(torch, "compile", lambda model: model),
            mock.patch.object(torch.nn.Module, "half", lambda self: self),
        ):
            quiet(own.main, base_model=str(weights / "base"), lora_weights=str(weights), instruct_dir=str(questions), prompt_template=template)  # fmt: skip
    return [seen[i + 1] for i, text in enumerate(seen) if text == "###model output###"]


def pulse(root: Path) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for kind, tokenizer in small_tokenizers().items():
        kept[f"pulse {kind}"] = []
        for text in SAID["pulse"]:
            end = tokenizer.convert_tokens_to_ids("</s>")
            network = Says([*tokenizer("Helper: " + text).input_ids[1:], end])
            library = mock.MagicMock()
            library.AutoModelForCausalLM.from_pretrained.return_value.eval.return_value = network
            library.AutoTokenizer.from_pretrained.return_value = tokenizer
            with (
                standing_in(transformers=library, **{"transformers.generation.utils": mock.MagicMock()}),
                mock.patch.object(sys, "argv", ["cli_demo.py"]),
                mock.patch.object(builtins, "input", replies(["咳嗽", "stop"])),
                mock.patch.object(torch.Tensor, "cuda", lambda self: self),
                mock.patch.dict("os.environ"),
            ):
                own = load(root / "PULSE/cli_demo.py")
                seen: list[str] = []
                own.print = seen.append  # type: ignore[attr-defined]
                quiet(own.main)
            kept[f"pulse {kind}"].append(seen[1])
            words = {k: v for k, v in network.words.items() if k in ("top_k", "top_p", "temperature", "do_sample")}
            kept["pulse words"] = {
                **words, "new": own.args.gen_max_length, "input": own.args.input_max_len, "least": 1,
            }  # fmt: skip
    return kept


def taiyi(root: Path) -> dict[str, Any]:
    kept: list[str] = []
    for text in SAID["taiyi"]:
        tokenizer = tokenizers()["qwen"]
        network = Says([*tokenizer(text).input_ids, tokenizer.eos_token_id])
        shown = mock.MagicMock(
            side_effect=lambda *a, tokenizer=tokenizer, **k: tokenizer(*a, **k),
            eod_id=tokenizer.eos_token_id,
            eos_token="<|endoftext|>",
        )
        shown.batch_decode = tokenizer.batch_decode
        library = mock.MagicMock()
        library.AutoModelForCausalLM.from_pretrained.return_value.generate = network.generate
        library.AutoTokenizer.from_pretrained.return_value = shown
        with (
            standing_in(transformers=library),
            mock.patch.object(builtins, "input", replies(["咳嗽"])),
            mock.patch.object(torch.Tensor, "to", lambda self, *_: self),
            mock.patch("logging.disable"),
        ):
            _, printed = quiet(load, root / "Taiyi-LLM/dialogue_one_trun.py")
        kept.append(printed.removeprefix("Taiyi回答:").removesuffix("\n"))
    return {"taiyi": kept, "taiyi words": network.words}


def chemdfm(root: Path) -> dict[str, Any]:
    own = load(root / "ChemDFM/cli_dialogue_inference_demo.py")
    asked = own.encapsulate_history_and_current_input_into_prompt([], medqa()[0].question)
    with mock.patch.object(sys, "argv", ["demo", "--model_name_or_path", "m"]):
        words = own.parse_args()
    readme = ast.parse(_block((root / "ChemDFM/README.md").read_text(), "GenerationConfig("))
    call = next(
        n for n in ast.walk(readme) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "GenerationConfig"
    )
    stated = {k.arg: k.value.value for k in call.keywords if k.arg and isinstance(k.value, ast.Constant)}
    kept: dict[str, Any] = {"chemdfm words": stated}
    for kind in ("llama", "llama 3"):
        tokenizer = tokenizers()[kind]
        kept[f"chemdfm {kind}"] = [
            own.response(Says([*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]), tokenizer, asked, words, "cpu")
            for text in SAID["chemdfm"]
        ]  # fmt: skip
    return kept


def _block(text: str, holding: str) -> str:
    """Return the code of the README's block that holds a word."""
    return next(part.partition("\n")[2] for part in text.split("```")[1::2] if holding in part)


def biomedgpt(root: Path) -> dict[str, Any]:
    with standing_in("utils", "utils.data_utils", "utils.mol_utils", "utils.collators"):
        own = load(root / "OpenBioMed/open_biomed/utils/chat_utils.py")
    tokenizer, kept = tokenizers()["llama"], []
    for text in SAID["biomedgpt"]:
        network = Says(
            [1, *tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id], behind_input=False
        )
        table = torch.nn.Embedding(len(tokenizer), 4)
        llm = SimpleNamespace(generate=network.generate, get_input_embeddings=lambda table=table: table)
        model = SimpleNamespace(llm=llm, llm_tokenizer=tokenizer)
        chat = own.Conversation(model, {"mol": None, "protein": None}, "cpu", "system", max_length=4096)
        chat.ask(medqa()[0].question)
        kept.append(chat.answer()[0])
    return {"biomedgpt": kept, "biomedgpt words": network.words}


def chatdoctor(root: Path) -> dict[str, Any]:
    kept = []
    for text in SAID["chatdoctor"]:
        tokenizer, library = Recorder(text), mock.MagicMock()
        library.LLaMATokenizer.from_pretrained.return_value = tokenizer
        network = library.LLaMAForCausalLM.from_pretrained.return_value.cuda.return_value
        with (
            standing_in("torch", "accelerate", transformers=library),
            mock.patch.object(builtins, "input", replies([medqa()[0].question])),
        ):
            printed = _until_no_more_is_asked(root / "ChatDoctor/chat.py")
        kept.append(printed.split("\n\nChatDoctor: ")[1].removesuffix("\n\n"))
        words = network.generate.call_args.kwargs
    return {"chatdoctor": kept, "chatdoctor words": {k: v for k, v in words.items() if isinstance(v, PLAIN)}}


def _until_no_more_is_asked(script: Path) -> str:
    """Run a conversation's script to the question that nobody answers; return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(EOFError):
        load(script)
    return out.getvalue()


def medalpaca(root: Path) -> dict[str, Any]:
    package = ModuleType("medalpaca")
    package.__path__ = [str(root / "medAlpaca/medalpaca")]
    with standing_in(medalpaca=package), mock.patch.object(torch.cuda, "is_available", lambda: True):
        own = importlib.import_module("medalpaca.inferer")
    found: dict[str, Any] = {}
    for name, asked in (("medalpaca", {}), ("medalpaca usmle", {"output": "The Answer to the question is:"})):
        found[name] = []
        for text in SAID[name]:
            model = own.Inferer.__new__(own.Inferer)
            model.data_handler = own.DataHandler(
                Recorder(text), str(root / "medAlpaca/medalpaca/prompt_templates/medalpaca.json")
            )
            model.model = mock.MagicMock()
            with mock.patch.object(torch.Tensor, "to", lambda self, *_: self):
                found[name].append(model(input=medqa()[0].question, **asked))
            stated = model.model.generate.call_args.kwargs
    return {**found, "medalpaca words": {k: v for k, v in stated.items() if k == "max_new_tokens"}}


def mmedlm_2(root: Path) -> dict[str, Any]:
    with standing_in():
        own = load(root / "MMedLM/inference/inference.py")
    kept = []
    for text in SAID["mmedlm-2"]:
        own.inference_on_one = lambda asked, *_, said=text: f"<s> {asked[0]}{said}</s>"
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            Path("data").mkdir()
            row = {"question": "Why?", "options": {"A": "a", "B": "b"}, "answer_idx": "A", "rationale": "so"}
            Path("data/English.jsonl").write_text(json.dumps(row))
            quiet(own.inference, "data/English.jsonl", None, None, folder, False)
            kept.append(Path("English.jsonl_res.txt").read_text().split("[SPLIT]")[0])
    return {"mmedlm-2": kept}


def omnina(root: Path) -> dict[str, Any]:
    """Nothing is published that generates; kept is what training teaches the network to say: ids, and the response they mean."""
    own = load(root / "OmniNA/finetune.py")
    own.tokenizer = tokenizers()["bloom"]
    n = len(SAID["omnina"])
    asked = {"question": [q.question for q in medqa()[:n]], "sequence": SEQUENCES[:n], "response": SAID["omnina"]}
    with mock.patch.object(own.tokenizer, "model_max_length", 10_000):  # so that nothing is cut
        labels = own.preprocess(asked)["labels"]
    return {"omnina taught": [[i for i in one.tolist() if i != own.IGNORE_INDEX] for one in labels]}


def me_llama(root: Path) -> dict[str, Any]:
    base = ModuleType("lm_eval.base")
    asked: list[Any] = []
    base.Task = type("Task", (), {"__init__": lambda self: None})  # type: ignore[attr-defined]
    base.rf = SimpleNamespace(greedy_until=lambda *request: asked.append(request))  # type: ignore[attr-defined]
    tasks = root / "Me-LLaMA/src/tasks"
    package = ModuleType("mellama")
    package.__path__ = [str(tasks)]
    words = ("evaluate", "seqeval", "seqeval.metrics", "bart_score", "bs4", "spacy", "textstat", "lm_eval", "lm_eval.metrics")  # fmt: skip
    with standing_in(*words, mellama=package, **{"lm_eval.base": base}):
        own = importlib.import_module("mellama.vital_measure")

    def reads(task: Any, choices: list[str], text: str) -> str | None:
        task.construct_requests({}, "asked")
        found = task.process_results({"choices": choices, "gold": 0}, [text])["f1"][0]
        return None if found == "missing" else found

    return {
        "me-llama": [reads(own.MedQA(), LETTERS, text) for text in SAID["me-llama"]],
        "me-llama lower": [reads(own.PUBMEDQA(), DECISIONS, text) for text in SAID["me-llama lower"]],
        "me-llama words": {**_vllm(root), "until": asked[0][1]["until"]},
    }


def _vllm(root: Path) -> dict[str, Any]:
    """The longest text and the sampling words of the class that the owners' script names (``hf-causal-vllm``)."""
    tree = ast.parse((root / "medical-evaluation/lm_eval/models/huggingface.py").read_text())
    own = next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == "VLLM")
    start = next(n for n in own.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    names = [one.arg for one in start.args.args][-len(start.args.defaults) :]
    longest = dict(zip(names, start.args.defaults, strict=True))["max_gen_toks"]
    call = next(n for n in ast.walk(own) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "SamplingParams")
    words = {k.arg: k.value.value for k in call.keywords if k.arg and isinstance(k.value, ast.Constant)}
    assert isinstance(longest, ast.Constant)
    return {**words, "max_gen_toks": longest.value}


def biomistral(root: Path) -> dict[str, Any]:
    path = root / "BioMistral/Evaluation/FewShot/PredictFewShot-Avg-Thread.py"
    tree = ast.parse(path.read_text())
    tokenizer = tokenizers()["llama"]
    library = SimpleNamespace(from_pretrained=lambda *_, **__: tokenizer)
    names: dict[str, Any] = {
        "F": torch.nn.functional, "torch": torch, "tqdm": lambda rows: rows, "full_name": "BioMistral/BioMistral-7B",
        "AutoTokenizer": library, "LlamaTokenizer": library,
    }  # fmt: skip
    node = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "process")
    exec(compile(ast.Module([node], []), str(path), "exec"), names)
    rows = [
        {
            "scores": torch.nn.functional.one_hot(torch.tensor([tokenizer.convert_tokens_to_ids(one)]), len(tokenizer)) * 9.0,
            "classes": LETTERS, "identifier": one, "correct_letter": "A",
        }
        for one in TOKENS
    ]  # fmt: skip
    call = next(n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "generate")
    words = {k.arg: k.value.value for k in call.keywords if k.arg and isinstance(k.value, ast.Constant)}
    return {"biomistral": [one["best_prediction"] for one in names["process"](rows)], "biomistral words": words}


def clinical_t5(root: Path) -> dict[str, Any]:
    folder = root / "clinical-lms"
    with mock.patch.object(sys, "path", [str(folder), *sys.path]), standing_in():
        own = load(folder / "src/finetuning/preprocess_mednli.py")
    own.tokenizer = tokenizers()["t5"]  # type: ignore[attr-defined]

    def ids(text: str) -> Any:
        return np.array([[0, *own.tokenizer.encode(text), 0, 0]])  # the start, the text, the end, padding

    def reads(text: str) -> str | None:
        right = (one for one in RELATIONS if own.compute_metrics(SimpleNamespace(predictions=ids(text), label_ids=ids(one)))["accuracy"] == 1)  # fmt: skip
        return next(right, None)

    tree = ast.parse((folder / "src/finetuning/preprocess_mednli.py").read_text())
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Seq2SeqTrainingArguments"]  # fmt: skip
    beams = {k.value.value for n in calls for k in n.keywords if k.arg == "generation_num_beams" and isinstance(k.value, ast.Constant)}  # fmt: skip
    lengths = [k.arg for n in calls for k in n.keywords if k.arg and "max" in k.arg and "length" in k.arg]
    tree = ast.parse((folder / "src/finetuning/run_seq2seq_qa.py").read_text())
    fields = {n.target.id: n.value for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and n.value}  # fmt: skip
    stated = {name: next(k.value.value for k in fields[name].keywords if k.arg == "default") for name in ("max_answer_length", "val_max_answer_length", "num_beams")}  # type: ignore[attr-defined]  # fmt: skip
    return {
        "clinical-t5": [reads(text) for text in SAID["clinical-t5"]],
        "clinical-t5 words": {"mednli beams": sorted(beams), "mednli lengths": lengths, **stated},
    }


BUILD: dict[str, Callable[[Path], dict[str, Any]]] = {
    "bentsao": bentsao, "pulse": pulse, "taiyi": taiyi, "chemdfm": chemdfm, "biomedgpt": biomedgpt, "omnina": omnina,
    "me-llama": me_llama, "biomistral": biomistral, "clinical-t5": clinical_t5, "chatdoctor": chatdoctor, "medalpaca": medalpaca,
    "mmedlm-2": mmedlm_2,
}  # fmt: skip


def main(root: Path, rows: list[str]) -> None:
    """Print what the owners' code keeps and reads of what each row may say."""
    found = {key: value for row in rows or BUILD for key, value in BUILD[row](root).items()}
    print(json.dumps({"sources": SOURCES, **found}, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])
