"""Groups of rollouts in, groups with scores out."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from grpo.errors import UserError
from grpo.types import Group, Prompt
from rewards.errors import RuleError
from rewards.options import GIVEN
from rewards.runner import Finished, RuleInfo, RuleSpec, Runner, Score
from rewards.score import unique

if TYPE_CHECKING:
    from grpo.recipe import Rule


class Scorer:
    """Scores groups by a recipe's rules, in processes of their own.

        with Scorer(recipe.rewards) as scorer:
            scorer.submit(group)                # as groups fill
            for scored in scorer.done(): ...    # whatever is finished by now
            for scored in scorer.drain(): ...   # and the rest

    Workers start loading at once; entering the context waits until the rules are known to be good.

    Args:
        rules: the recipe's rules, K of them.
        folder: the recipe's folder, where rule files are looked for besides the working directory.
        trainer_state: what rules see as attributes of `trainer_state`; read anew at each `submit`.
        workers: processes; as many as there are cores, at most 4, when left out.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        folder: Path | None = None,
        trainer_state: Mapping[str, Any] | None = None,
        workers: int | None = None,
    ) -> None:
        self.weights = tuple(rule.weight for rule in rules)  # [K]
        self.trainer_state = trainer_state
        specs = [RuleSpec(rule.rule, rule.options, rule.timeout, rule.memory, rule.network) for rule in rules]
        self._runner = Runner(specs, workers=workers, folder=folder)
        self.names: list[str] = []  # of the rules in metrics [K]; known once entered
        self._groups: dict[Hashable, Group] = {}
        self._keys = itertools.count()

    def __enter__(self) -> Scorer:
        try:
            self.names = unique([rule.name for rule in self.rules])  # waits
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

    @property
    def rules(self) -> list[RuleInfo]:
        """What the rules say of themselves, in the recipe's order."""
        with user_errors():
            return self._runner.infos()

    @property
    def graders(self) -> list[str]:
        """Names, as in metrics, of the rules whose score is the verdict on the answer; known once entered.

        A rule that grades and then scores otherwise, by length perhaps, is none of them.
        """
        pairs = zip(self.names, self.rules, strict=True)
        return [name for name, rule in pairs if rule.grades_answer and not rule.gold_extra]

    def submit(self, group: Group) -> None:
        """Queues a group and returns at once."""
        texts = [rollout.text for rollout in group.rollouts]
        ids = [list(rollout.token_ids) for rollout in group.rollouts]
        self._groups[self._submit([group.prompt] * len(texts), texts, completion_ids=ids)] = group

    def done(self) -> Iterator[Group]:
        """Groups that are scored by now, in order of finishing."""
        with user_errors():
            for finished in self._runner.ready():
                yield self._scored(finished)

    def drain(self) -> Iterator[Group]:
        """Groups as they finish, until none is outstanding."""
        with user_errors():
            for finished in self._runner.wait():
                yield self._scored(finished)

    def score(
        self, prompts: Sequence[Prompt], texts: Sequence[str], rules: Sequence[int] | None = None
    ) -> list[list[Score]]:
        """Scores one completion of each prompt in one call a rule, and waits for it.

        These texts have no tokens; their bytes stand in as `completion_ids`, so that rules of length can run.

        Args:
            prompts, texts: [N].
            rules: indices of the rules to run; all when left out.

        Returns:
            [N][K] scores.
        """
        return next(self.score_many([(prompts, texts)], rules))

    def score_many(
        self, batches: Sequence[tuple[Sequence[Prompt], Sequence[str]]], rules: Sequence[int] | None = None
    ) -> Iterator[list[list[Score]]]:
        """`score` for many batches at once, on all workers; results in the order of the batches."""
        assert not self._groups, "drain the submitted groups first"
        keys = [
            self._submit(prompts, texts, [list(text.encode(errors="replace")) for text in texts], rules)
            for prompts, texts in batches
        ]
        with user_errors():
            results = {key: scores for key, scores, _ in self._runner.wait()}
        yield from (results[key] for key in keys)

    def metrics(self, groups: Sequence[Group]) -> dict[str, float]:
        """Means over the scored completions of some groups.

        `reward/<rule>` of the scores given, `reward/<rule>/<extra>` of what the rule logged as numbers,
        `reward/ungraded` the share of completions on which some rule failed, `reward/seconds` of the rules'
        time for a completion.
        """
        rows = [row for group in groups for row in group.scores]
        values: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            values["reward/ungraded"].append(float(any(score.ungraded for score in row)))
            values["reward/seconds"].append(sum(score.seconds for score in row))
            for name, score in zip(self.names, row, strict=True):
                if score.score is not None:
                    values[f"reward/{name}"].append(score.score)
                for extra, value in score.extras.items():
                    if isinstance(value, int | float):
                        values[f"reward/{name}/{extra}"].append(float(value))
        return {name: sum(all_) / len(all_) for name, all_ in values.items()}

    def _submit(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[str],
        completion_ids: Sequence[Sequence[int]] | None = None,
        rules: Sequence[int] | None = None,
    ) -> int:
        key = next(self._keys)
        completions = [completion_of(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
        shown = [prompt.prompt for prompt in prompts]
        with user_errors():
            self._runner.submit(
                key, shown, completions, columns_of(prompts), completion_ids, self.trainer_state, rules
            )
        return key

    def _scored(self, finished: Finished) -> Group:
        key, scores, _ = finished
        return dataclasses.replace(self._groups.pop(key), scores=tuple(map(tuple, scores)))


def completion_of(prompt: Prompt, text: str) -> str | list[dict[str, str]]:
    """A completion as rules receive it: in messages where the prompt is, else the text."""
    return text if isinstance(prompt.prompt, str) else [{"role": "assistant", "content": text}]


def columns_of(prompts: Sequence[Prompt]) -> dict[str, list[Any]]:
    """The data columns rules receive, [N] values each: the row's, `answer`, and `prompt_text` as rendered.

    As in TRL, columns named like a keyword of the rules are left out, and so is `completion`.
    """
    names = dict.fromkeys(name for prompt in prompts for name in prompt.columns)
    columns = {
        name: [prompt.columns.get(name) for prompt in prompts]
        for name in names
        if name not in (*GIVEN, "prompt", "completion")
    }
    columns["answer"] = [prompt.answer for prompt in prompts]
    columns["prompt_text"] = [prompt.text for prompt in prompts]
    return columns


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns a rule's RuleError into the UserError that commands show."""
    try:
        yield
    except RuleError as error:
        raise UserError(error.what, error.where, error.instead) from error
