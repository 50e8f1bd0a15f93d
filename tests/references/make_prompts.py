"""Run the owners' own prompt and answer code on 20 real questions and store what it gives, as digests.

    python -m tests.references.make_prompts FOLDER > tests/data/expected/prompts.json

FOLDER holds a checkout of each repository of ``SOURCES`` at its commit, under the repository's name (``clinical-lms``:
elehman16/do-we-still-need-clinical-lms; Taiyi-LLM: branch Taiyi1). The owners' scripts are loaded from there; what they
import and this machine lacks is replaced by a stand-in, and their networks by ones that record what they are given.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import accelerate  # noqa: F401  (loaded before any stand-in, so that they see none)
import datasets  # noqa: F401
import peft  # noqa: F401
import torch
import transformers

from tests.references.prompt_cases import (
    ANSWERS,
    ASK,
    SAID,
    SEQUENCES,
    digest,
    instructed,
    medqa,
    pubmedqa,
    question_ending,
    small_tokenizers,
    taiyi_tokenizer,
    turns,
)  # fmt: skip

SOURCES = {
    "mmedlm-2": "github.com/MAGIC-AI4Med/MMedLM@9722bb79b344560c5958708bbc93b8b75774315b",
    "pmc-llama": "github.com/chaoyi-wu/PMC-LLaMA@54fc0d4d3ad91b418fc4e03904aaeb764f4cafcb",
    "medalpaca": "github.com/kbressem/medAlpaca@63448c57967359ee04e6408ae418418ba0ac9f3a",
    "bentsao": "github.com/SCIR-HI/Huatuo-Llama-Med-Chinese@ba9b3d65b33ba346e3d60979019abe6fa2ac741a",
    "chatdoctor": "github.com/Kent0n-Li/ChatDoctor@e77bd7ebafbffb6d82be3410cd0d4ebebe75a516",
    "pulse": "github.com/openmedlab/PULSE@eab6067e7d34ebcd51099242d602ba4eaab38d42",
    "meditron": "github.com/epfLLM/meditron@a7c7cda3014e537f0df2ec58f836fbe920d6283b",
    "meditron chat": "github.com/lm-sys/FastChat@0e6d3e4beaab66f4d3f93db72541a4abab8af28d",
    "taiyi": "github.com/DUTIR-BioNLP/Taiyi-LLM@67a701cc2027053c45294016831630d9c739a660",
    "chemdfm": "github.com/OpenDFM/ChemDFM@d2c083c267a762dba5b302870a3b993220662bc2",
    "biogpt": "github.com/microsoft/BioGPT@648f7d6503c038b44e70b7510bf431c7be94e891",
    "me-llama": "github.com/BIDS-Xu-Lab/Me-LLaMA@08c893f27bcd879aa65f17bb9643697a574ca2aa",
    "biomistral": "github.com/BioMistral/BioMistral@4d1fa85e271389cc4c0055e9ffa383d592d73e02",
    "biomedgpt": "github.com/PharMolix/OpenBioMed@ce3ccab76f5dd3a48a02298f3c4c61bfb9b2501c",
    "clinical-t5": "github.com/elehman16/do-we-still-need-clinical-lms@350f9e46e08286cbb8096c5fbb616d5f79d459e9",
    "omnina": "github.com/xilinshen/OmniNA@413a52881df12fd65f70d919adb710debc2867bf",
}
LOADED = (
    transformers.Trainer,
    transformers.Seq2SeqTrainer,
    transformers.AutoModelForCausalLM,
    transformers.AutoTokenizer,
)
STAND_INS = (
    "jsonlines",
    "fire",
    "gradio",
    "nltk",
    "nltk.corpus",
    "nltk.stem",
    "wandb",
    "vllm",
    "pqdm",
    "pqdm.processes",
)


@contextlib.contextmanager
def standing_in(*names: str, **modules: ModuleType | mock.MagicMock) -> Iterator[None]:
    """Replace modules by stand-ins while an owner's script is loaded."""
    found = {**{name: mock.MagicMock() for name in (*STAND_INS, *names)}, **modules}
    with mock.patch.dict(sys.modules, found):
        yield


def load(path: Path, name: str = "owner") -> ModuleType:
    """Load an owner's script as a module; its ``__main__`` part does not run."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def quiet(call: Callable[..., Any], *args: Any, **words: Any) -> tuple[Any, str]:
    """Call something that prints; return its result and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        result = call(*args, **words)
    return result, out.getvalue()


class Recorder:
    """A tokenizer that keeps every text it is given and says ``answer`` behind it."""

    eos_token = "</s>"
    pad_token_id = 0
    eos_token_id = 2
    model_max_length = 10_000

    def __init__(self, answer: str = "") -> None:
        self.texts: list[str] = []
        self.answer = answer

    def __call__(self, text: str, **_: Any) -> Any:
        self.texts.append(text)
        ids = torch.ones(1, 3, dtype=torch.long)

        class Found(dict):  # type: ignore[type-arg]
            input_ids = mock.MagicMock(ne=ids.ne, __getitem__=lambda _, i: ids[i])

        return Found(input_ids=ids)

    def batch_decode(self, *_: Any, **__: Any) -> list[str]:
        return [self.texts[-1] + self.answer]

    def decode(self, *_: Any, **__: Any) -> str:
        return self.texts[-1] + self.answer


def replies(lines: list[str]) -> Callable[..., str]:
    """Return an ``input`` that answers with these lines, then ends."""
    left = iter(lines)

    def ask(prompt: str = "") -> str:
        for line in left:
            return line
        raise EOFError

    return ask


# The rows -------------------------------------------------------------------------------------------------------------


def mmedlm_2(root: Path) -> dict[str, list[str]]:
    with standing_in():
        own = load(root / "MMedLM/inference/inference.py")
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "English.jsonl"
        rows = [
            {"question": q.question, "options": dict(q.options), "answer_idx": q.answer, "rationale": ""}
            for q in medqa()
        ]
        path.write_text("\n".join(json.dumps(row) for row in rows))
        for name, with_rationale in (("mmedbench", False), ("mmedbench-rationale", True)):
            data, _ = quiet(own.prepare_data, own.read_jsonl(str(path), with_rationale))
            made[name] = [row["pmc_input"] for row in data]
    data, _ = quiet(own.prepare_data, [{**one, "output": "", "rationale": ""} for one in instructed()])
    return {**made, "alpaca": [row["pmc_input"] for row in data]}


def pmc_llama(root: Path) -> dict[str, list[str]]:
    with standing_in():
        own = load(root / "PMC-LLaMA/SFT/eval/qa_inference.py")
    data, _ = quiet(own.prepare_data, [{**one, "sample_id": i} for i, one in enumerate(instructed())], None, None)
    block = re.search(
        r"prompt_input = \(.*?\n\)\n\nexample = .*?\n}\n", (root / "PMC-LLaMA/README.md").read_text(), re.S
    )
    assert block is not None
    readme: dict[str, Any] = {}
    exec(block.group(), readme)
    asked = [{"instruction": ASK, "input": q.question} for q in medqa()]
    example = readme["example"]
    questions = [example["input"], *(_in_place(example["input"], q.question, q.options) for q in medqa()[:19])]
    samples, _ = quiet(
        own.prepare_data, [{**example, "input": one, "sample_id": i} for i, one in enumerate(questions)], None, None
    )
    return {
        "training": [row["pmc_input"] for row in data],
        "readme": [readme["prompt_input"].format_map(one) for one in asked],
        "question": [row["pmc_input"] for row in samples],
    }


def _in_place(sample: str, question: str, options: Mapping[str, str]) -> str:
    """Return the README's sample with another question and options where its own stand: each lettered as there, one blank between."""
    head, between = sample.split("###Question: ")[0] + "###Question: ", "###Options: "
    own = re.findall(r"([A-D])(\. )(.*?)(?: (?=[B-D]\. )|$)", sample.split(between)[1])
    dots = {mark for _, mark, _ in own}
    assert dots == {". "} and " ".join(f"{key}{mark}{text}" for key, mark, text in own) == sample.split(between)[1]
    return head + question + between + " ".join(f"{key}. {text}" for key, text in options.items())


def medalpaca(root: Path) -> dict[str, list[str]]:
    handler = load(root / "medAlpaca/medalpaca/handler.py").DataHandler(
        None, str(root / "medAlpaca/medalpaca/prompt_templates/medalpaca.json")
    )
    made: list[str] = []

    class Inferer:
        def __init__(self, **_: Any) -> None: ...

        def __call__(self, instruction: str, input: str, output: str, **_: Any) -> str:
            made.append(handler.generate_prompt(instruction=instruction, input=input, output=output))
            return "A: yes it is"

    with (
        standing_in(
            "tqdm.autonotebook", medalpaca=mock.MagicMock(), **{"medalpaca.inferer": mock.MagicMock(Inferer=Inferer)}
        ),
        tempfile.TemporaryDirectory() as folder,
    ):
        own = load(root / "medAlpaca/eval/eval_usmle.py")
        own.tqdm = lambda rows: mock.MagicMock(__iter__=lambda _: iter(rows))
        parts = (medqa()[:7], medqa()[7:14], medqa()[14:])
        for i, part in enumerate(parts, 1):
            rows = [{"question": q.question, "options": dict(q.options)} for q in part]
            (Path(folder) / f"step{i}.json").write_text(json.dumps(rows))
        quiet(own.main, "m", "p", "b", False, False, folder)
    forms = [
        {"instruction": ASK, "input": q.question} if i % 2 else {"input": q.question} for i, q in enumerate(medqa())
    ]
    return {"medalpaca": [handler.generate_prompt(**one) for one in forms], "usmle": made}


def bentsao(root: Path) -> dict[str, list[str]]:
    folder = root / "Huatuo-Llama-Med-Chinese"
    made: dict[str, list[str]] = {"literature": []}
    with contextlib.chdir(folder), mock.patch.object(sys, "path", [str(folder), *sys.path]):
        with standing_in("peft"):
            own = load(folder / "infer_literature.py")
            prompter = own.Prompter
        for name, file in (("med", "med_template"), ("bloom", "bloom_deploy")):
            made[name] = [prompter(file).generate_prompt(q.question, None) for q in medqa()]
        for start in range(0, 20, 5):
            told = Recorder(SAID + "\n")
            own.AutoTokenizer = mock.MagicMock(from_pretrained=lambda _, told=told: told)
            own.AutoModelForCausalLM, own.device = mock.MagicMock(), "cpu"
            asked = replies([q.question for q in medqa()[start : start + 5]])
            with mock.patch.object(builtins, "input", asked), mock.patch.object(torch, "compile", lambda m: m):
                quiet(own.main, use_lora=False, single_or_multi="multi", prompt_template="literature_template")
            made["literature"] += told.texts
    return made


def chatdoctor(root: Path) -> dict[str, list[str]]:
    told = []
    for pair in turns():
        tokenizer = Recorder(SAID + "\n\nPatient: and then?")
        library = mock.MagicMock()
        library.LLaMATokenizer.from_pretrained.return_value = tokenizer
        with (
            standing_in("torch", "accelerate", transformers=library),
            mock.patch.object(builtins, "input", replies([q.question for q in pair])),
            contextlib.suppress(EOFError),
        ):
            quiet(load, root / "ChatDoctor/chat.py")
        told += tokenizer.texts
    with standing_in("utils"):
        own = load(root / "ChatDoctor/train.py")
    sources: list[str] = []
    own.utils.jload = lambda _: [{**one, "output": ""} for one in instructed()]
    own.preprocess = lambda found, *_: sources.extend(found) or {"input_ids": [], "labels": []}
    own.SupervisedDataset("", SimpleNamespace(eos_token="</s>"))
    return {"chat": told, "training": sources}


def pulse(root: Path) -> dict[str, list[list[int]]]:
    made: dict[str, list[list[int]]] = {}
    roles = {"base": "Base", "medical-qa": "医学知识QA", "consultation": "在线问诊"}
    for kind, tokenizer in small_tokenizers().items():
        for name, role in roles.items():
            sessions = [[q] for q in medqa()] + (turns()[:5] if name == "consultation" else [])
            made[f"{name} {kind}"] = [ids for one in sessions for ids in _pulse_session(root, tokenizer, role, one)]
    return made


def _pulse_session(root: Path, tokenizer: Any, role: str, questions: list[Any]) -> list[list[int]]:
    given: list[list[int]] = []

    def generate(inputs: torch.Tensor, **_: Any) -> torch.Tensor:
        given.append(inputs[0].tolist())
        answer = [*tokenizer("Helper: " + SAID).input_ids[1:], tokenizer.convert_tokens_to_ids("</s>")]
        return torch.cat([inputs, torch.tensor([answer])], dim=1)

    model = mock.MagicMock()
    model.from_pretrained.return_value.eval.return_value.generate = generate
    library = mock.MagicMock(AutoModelForCausalLM=model)
    library.AutoTokenizer.from_pretrained.return_value = tokenizer
    with (
        standing_in(transformers=library, **{"transformers.generation.utils": mock.MagicMock()}),
        mock.patch.object(sys, "argv", ["cli_demo.py", "--model_type", role]),
        mock.patch.object(builtins, "input", replies([*(q.question for q in questions), "stop"])),
        mock.patch.object(torch.Tensor, "cuda", lambda self: self),
        mock.patch.dict(os.environ),
    ):
        quiet(load(root / "PULSE/cli_demo.py").main)
    return given


def taiyi(root: Path) -> dict[str, list[list[int]]]:
    made: dict[str, list[list[int]]] = {"chat": []}
    tokenizer = taiyi_tokenizer()
    for questions in [[q] for q in medqa()] + turns()[:5]:
        given: list[list[int]] = []

        def generate(input_ids: torch.Tensor, given: list[list[int]] = given, **_: Any) -> torch.Tensor:
            given.append(input_ids[0].tolist())
            answer = [*tokenizer(SAID).input_ids, tokenizer.eos_token_id]
            return torch.cat([input_ids, torch.tensor([answer])], dim=1)

        shown = mock.MagicMock(
            side_effect=lambda *a, **k: tokenizer(*a, **k), eod_id=tokenizer.eos_token_id, eos_token="<|endoftext|>"
        )
        shown.batch_decode = tokenizer.batch_decode
        library = mock.MagicMock()
        library.AutoModelForCausalLM.from_pretrained.return_value.generate = generate
        library.AutoTokenizer.from_pretrained.return_value = shown
        with (
            standing_in(transformers=library),
            mock.patch.object(builtins, "input", replies([*(q.question for q in questions), "结束对话"])),
            mock.patch.object(torch.Tensor, "to", lambda self, *_: self),
            mock.patch("logging.disable"),
        ):
            quiet(load, root / "Taiyi-LLM/dialogue_multi_trun.py")
        made["chat"] += given
    return made


def meditron(root: Path) -> dict[str, list[str]]:
    folder = root / "meditron/evaluation"
    with mock.patch.object(sys, "path", [str(folder), *sys.path]), standing_in():
        own, marks = load(folder / "inference.py"), load(folder / "benchmarks.py")

    class Rows(list):  # type: ignore[type-arg]
        def map(self, change: Callable[[Any], Any]) -> Rows:
            return Rows(change(dict(row)) for row in self)

    def asked(name: str, instruction: str, rows: list[dict[str, Any]]) -> list[str]:
        mark = marks.benchmark_factory(name)
        mark.test_data = Rows(rows)
        mark.preprocessing("test")
        mark.add_instruction(instruction=marks.load_instruction(instruction), partition="test")
        return [row["prompt"] for row in mark.test_data]

    def wrapped(prompts: list[str], checkpoint: str) -> list[str]:
        return [own.format_prompt(one, SimpleNamespace(shots=0, checkpoint_name=checkpoint)) for one in prompts]

    plain = [q.question for q in medqa()]
    exams = [
        {"question": question_ending(q.question, i), "options": dict(q.options), "answer": q.options[q.answer]}
        for i, q in enumerate(medqa())
    ]
    papers = [
        {"QUESTION": q.question, "CONTEXTS": q.context.split("\n"), "final_decision": q.answer, "LONG_ANSWER": ""}
        for q in pubmedqa()
    ]
    with mock.patch.dict(sys.modules, {"fastchat": mock.MagicMock(), "fastchat.constants": mock.MagicMock()}):
        chat = load(root / "FastChat/fastchat/conversation.py", "fastchat.conversation")
    talk = chat.Conversation(
        name="zero_shot_medical", system_message="{system}", roles=("User", "Assistant"),
        sep_style=chat.SeparatorStyle.ADD_COLON_SINGLE, sep="\n### ", messages=[],
    )  # fmt: skip
    talks = []
    for pair in turns():
        one = talk.copy()
        for i, q in enumerate(pair):
            if i:
                one.messages[-1][1] = SAID
            one.append_message("User", q.question)
            one.append_message("Assistant", None)
            talks.append(one.get_prompt())
    exam = asked("medqa4", "medqa", exams)
    return {
        "fine-tuned": wrapped(plain, "meditron-7b-medqa"), "medical": wrapped(plain, "meditron-medical"),
        "orca": wrapped(plain, "meditron-orca"), "chat": talks, "medqa": wrapped(exam, "meditron-7b"),
        "medqa-fine-tuned": wrapped(exam, "meditron-7b-medqa"),
        "pubmedqa": wrapped(asked("pubmedqa", "pubmedqa", papers), "meditron-7b"),
    }  # fmt: skip


def chemdfm(root: Path) -> dict[str, list[str]]:
    own = load(root / "ChemDFM/cli_dialogue_inference_demo.py")
    made = []
    for first, second in turns():
        made.append(own.encapsulate_history_and_current_input_into_prompt([], first.question))
        made.append(own.encapsulate_history_and_current_input_into_prompt([(first.question, SAID)], second.question))
    block = re.search(r"def formatting_input.*?return input_text\n", (root / "ChemDFM/README.md").read_text(), re.S)
    assert block is not None
    readme: dict[str, Any] = {}
    exec(block.group(), readme)
    assert readme["formatting_input"](turns()[0][0].question, []) == made[0]
    try:
        readme["formatting_input"]("now", [("before", "answered")])
    except (TypeError, ValueError):
        return {"dialogue": made}
    raise AssertionError("the README's formatter works after all")


def biogpt(root: Path) -> dict[str, list[str]]:
    folder = root / "BioGPT/examples/QA-PubMedQA"
    rows = {
        q.id: {
            "QUESTION": q.question,
            "CONTEXTS": q.context.split("\n"),
            "LONG_ANSWER": q.meta["long_answer"],
            "final_decision": q.answer,
        }
        for q in pubmedqa()
    }
    with tempfile.TemporaryDirectory() as data:
        for split in ("train", "dev", "test"):
            (Path(data) / f"{split}_set.json").write_text(json.dumps(rows))
        with mock.patch.object(sys, "argv", ["rebuild_data.py", data, "p"]):
            own, _ = quiet(load, folder / "rebuild_data.py")
        lines = (Path(data) / "p_test.x").read_text().split("\n")[:-1]
        longer, _ = quiet(own.loader, str(Path(data) / "test_set.json"), own.build_target_seq, True)
    return {"pubmedqa": lines + [source for source, _ in longer]}


def me_llama(root: Path) -> dict[str, list[str]]:
    with standing_in():
        own = load(root / "Me-LLaMA/src/preprocess_instruct.py")
        wrap = load(root / "Me-LLaMA/src/model_prompt.py").mellama_prompt
    exams = [
        {
            "question": q.question,
            "options": [{"key": k, "value": v} for k, v in q.options.items()],
            "answer_idx": q.answer,
        }
        for q in medqa()
    ]
    papers = [
        {"QUESTION": q.question, "CONTEXTS": repr(q.context.split("\n")), "final_decision": q.answer}
        for q in pubmedqa()
    ]
    return {
        "chat": [wrap(q.question) for q in medqa()],
        "medqa": [own.MedQA.prompt.format(**own.MedQA().fetch_data(row)) for row in exams],
        "pubmedqa": [own.PubmedQA.prompt.format(**own.PubmedQA().fetch_data(row)) for row in papers],
    }


def biomistral(root: Path) -> dict[str, list[str]]:
    own = load(root / "BioMistral/Data/Evaluation/BioInstructQA.py", "BioInstructQA")

    def choices(options: dict[str, str]) -> list[dict[str, str]]:
        return [{"letter": key, "text": text} for key, text in options.items()]

    exams = [own.getPrompt(None, q.question, choices(dict(q.options)), "") for q in medqa()]
    lettered = {"A": "yes", "B": "no", "C": "maybe"}
    return {"bioinstructqa": exams + [own.getPrompt(q.context, q.question, choices(lettered), "") for q in pubmedqa()]}


def biomedgpt(root: Path) -> dict[str, list[str]]:
    path = root / "OpenBioMed/open_biomed/utils/chat_utils.py"
    with standing_in("utils", "utils.data_utils", "utils.mol_utils", "utils.collators"):
        own = load(path)
    node = next(
        n
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "prompt_sys"
    )
    system = eval(compile(ast.Expression(node.value), "system", "eval"))
    made = []
    for pair in turns():
        chat = own.Conversation(None, {"mol": None, "protein": None}, "cpu", system)
        for q in pair:
            chat.ask(q.question)
            chat._append_message(1, None)
            made.append(chat._wrap_prompt())
            chat.messages[-1][1] = SAID
    return {"conversation": made}


def clinical_t5(root: Path) -> dict[str, list[str]]:
    folder = root / "clinical-lms"
    with mock.patch.object(sys, "path", [str(folder), *sys.path]), standing_in():
        own = load(folder / "src/finetuning/preprocess_mednli.py")
    tree = ast.parse((folder / "src/finetuning/run_seq2seq_qa.py").read_text())
    node = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "generate_input")
    radqa: dict[str, Any] = {}
    exec(compile(ast.Module([node], []), "radqa", "exec"), radqa)
    return {
        "mednli": [own.format_single_example(q.question, f" {q.context} ") for q in pubmedqa()]
        + [own.format_single_example(q.context, q.question) for q in pubmedqa()],
        "radqa": [radqa["generate_input"](f" {q.question}", f"\n{q.context}") for q in pubmedqa()],
    }


def omnina(root: Path) -> dict[str, list[str]]:
    own = load(root / "OmniNA/finetune.py")
    own.tokenizer = Recorder()
    own.preprocess({"question": [q.question for q in medqa()], "sequence": SEQUENCES, "response": ["Yes"] * 20})
    before = load(root / "OmniNA/pretrain.py").preprocess({"sequence": SEQUENCES, "response": ["Yes"] * 20})["examples"]
    return {"fine-tuning": own.tokenizer.texts[-20:], "pretraining": [one.removesuffix("Yes</s>") for one in before]}


ROWS: dict[str, Callable[[Path], Any]] = {
    "mmedlm-2": mmedlm_2, "pmc-llama": pmc_llama, "medalpaca": medalpaca, "bentsao": bentsao, "chatdoctor": chatdoctor,
    "pulse": pulse, "taiyi": taiyi, "meditron": meditron, "chemdfm": chemdfm, "biogpt": biogpt, "me-llama": me_llama,
    "biomistral": biomistral, "biomedgpt": biomedgpt, "clinical-t5": clinical_t5, "omnina": omnina,
}  # fmt: skip


# The owners' readers of answers -------------------------------------------------------------------------------------------


def answers(root: Path) -> dict[str, list[str | None]]:
    """Return what the owners' code reads in each text of ``ANSWERS`` (None: nothing)."""
    with standing_in("tqdm.autonotebook", medalpaca=mock.MagicMock(), **{"medalpaca.inferer": mock.MagicMock()}):
        pmc = load(root / "PMC-LLaMA/SFT/eval/eval_medqa.py")
        mark = load(root / "meditron/evaluation/evaluate.py")
        usmle = load(root / "medAlpaca/eval/eval_usmle.py")
    with tempfile.TemporaryDirectory() as folder:
        for i, text in enumerate(ANSWERS["option-is-correct"]):
            (Path(folder) / f"{i}.txt").write_text(text)
        names = [f"{i}.txt" for i in range(len(ANSWERS["option-is-correct"]))]
        found, _ = quiet(pmc.parse_pmc_answers, folder, names)
        option = [found.get(i) for i in range(len(names))]
        path = Path(folder) / "generated"
        path.write_text("".join(text + "\n" for text in ANSWERS["biogpt"]))
        with mock.patch.object(sys, "argv", ["postprocess.py", str(path)]):
            quiet(load, root / "BioGPT/examples/QA-PubMedQA/postprocess.py")
        read = Path(f"{path}.extracted.txt").read_text().split("\n")[:-1]

    def meditron_reads(text: str, kind: str) -> str | None:
        correct, output, _ = mark.eval(text.lower(), "a", answer_type=kind)
        return None if correct == 2 else output

    def opening(text: str) -> str | None:
        stripped = usmle.strip_special_chars(text)
        return stripped[0] if usmle.starts_with_capital_letter(stripped) else None

    return {
        "option-is-correct": option,
        "mmedbench": [_mmedbench_reads(root, text) for text in ANSWERS["mmedbench"]],
        "biogpt": [None if one == "failed" else one for one in read],
        "meditron": [meditron_reads(text, "mcq") for text in ANSWERS["meditron"]],
        "meditron yes-no": [meditron_reads(text, "boolean") for text in ANSWERS["meditron yes-no"]],
        "opening-letter-sentence": [opening(text) for text in ANSWERS["opening-letter-sentence"]],
    }


def _mmedbench_reads(root: Path, text: str) -> str | None:
    """Return the gold answer that the owners' script counts a response right for."""
    tree = ast.parse((root / "MMedLM/metrics/accuracy.py").read_text())
    names = [
        c.value
        for n in tree.body
        if isinstance(n, ast.Assign)
        for c in ast.walk(n.value)
        if isinstance(c, ast.Constant)
    ]
    for gold in ("A", "B", "C", "D", "E", "A,B", "A,C"):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for name in names:
                Path(name).write_text(f"{text}[SPLIT]{gold}[SPLIT]why\n")
            _, printed = quiet(load, root / "MMedLM/metrics/accuracy.py")
        if printed.split("\t")[1] == "1":
            return gold
    return None


def main(root: Path) -> None:
    """Print the digests of every row's prompts, and what the owners' code read in the answers."""
    prompts = {
        row: {name: [digest(one) for one in made] for name, made in build(root).items()} for row, build in ROWS.items()
    }
    print(json.dumps({"sources": SOURCES, "prompts": prompts, "answers": answers(root)}, ensure_ascii=False, indent=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
