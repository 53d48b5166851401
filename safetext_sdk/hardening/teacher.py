"""Prompts as a token table, and the original encoder's outputs on them.

* Every text is tokenized once; a step picks rows. Rows of causal encoders may be read as a prefix.
* The original's outputs are computed once, in fixed batches, if they fit into memory, the device's or the
  host's; else at each step.
  Either way they are the same in a resumed run, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..methods.prompt_table import Pair, PromptTable
from ..methods.sampling import Part
from ..models.families import FAMILIES, Family, Pieces, Tokens, piece_owner
from ..models.model import EncoderBundle, TextToImageModel
from .settings import TrainConfig
from .shelves import Shelf, read_all

BATCH = 64


def build_table(
    model: TextToImageModel,
    pairs: Sequence[Pair],
    safe: Sequence[tuple[str, str]],
    shares: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    positions: int = 0,
    kept_as: Mapping[str, str] | None = None,
) -> PromptTable:
    """Tokenize everything once.

    Args:
        model: for its tokenizers.
        pairs: unsafe prompts with their anchors.
        safe: (text, kind) as `retain_set.SafeText` has them.
        shares: of the draws, by source of pairs and by kind of safe texts; all others are drawn alike.
        weights: of the concepts, by id; 1 where absent.
        positions: `TrainConfig.positions`.
        kept_as: of safe texts that must have another text's conditioning, that text.
    """
    row: dict[str, int] = {}
    kept_as = kept_as or {}
    both = (t for pair in pairs for t in (pair.unsafe, pair.anchor))
    for text in (*both, *(t for t, _ in safe), *kept_as.values()):
        row.setdefault(text, len(row))
    texts = list(row)
    causal = model.reader.causal
    parts = [
        {name: t if name in causal else _shortened(t, positions) for name, t in tokens.items()}
        for tokens in (model.tokenize(texts[i : i + 512]) for i in range(0, len(texts), 512))
    ]
    tokens: Tokens = {
        name: {key: torch.cat([p[name][key] for p in parts]) for key in parts[0][name]} for name in parts[0]
    }
    concepts = tuple(dict.fromkeys(pair.concept for pair in pairs))

    concept = np.array([concepts.index(p.concept) for p in pairs], dtype=np.int64)

    def rows(found: Sequence[str]) -> np.ndarray:
        return np.array([row[t] for t in found], dtype=np.int64)

    walked = [(text, kind) for text, kind in safe if kind not in ("empty", "negative")]
    safe_rows = rows([text for text, _ in walked])
    return PromptTable(
        texts,
        tokens,
        {name: t["attention_mask"].sum(dim=1) for name, t in tokens.items()},
        unsafe=rows([p.unsafe for p in pairs]),
        anchor=rows([p.anchor for p in pairs]),
        concept=concept,
        concepts=concepts,
        safe=safe_rows,
        fixed=rows([t for t, kind in safe if kind == "empty"]),
        negative=rows([t for t, kind in safe if kind == "negative"]),
        pair_parts=_parts(np.arange(len(pairs)), [p.source for p in pairs], shares or {}),
        safe_parts=_parts(safe_rows, [kind for _, kind in walked], shares or {}),
        importance=_importance(concept, [(weights or {}).get(c, 1.0) for c in concepts]),
        reach=_unless_all_are([p.reach for p in pairs], 1.0),
        kept_as=rows([kept_as.get(t, t) for t in texts]) if kept_as else None,
    )


def _unless_all_are(values: Sequence[float], usual: float) -> np.ndarray | None:
    return None if all(v == usual for v in values) else np.array(values, dtype=np.float32)


def _shortened(tokens: Mapping[str, Tensor], positions: int) -> dict[str, Tensor]:
    """Tokens [b, L] of one encoder at ``positions`` at most, the last of each prompt moved to the new end."""
    if not positions or positions >= tokens["input_ids"].shape[1]:
        return dict(tokens)
    out = {key: t[:, :positions].clone() for key, t in tokens.items()}
    length = tokens["attention_mask"].sum(dim=1)
    long = (length > positions).nonzero().squeeze(1)
    out["input_ids"][long, -1] = tokens["input_ids"][long, length[long] - 1]
    return out


def _importance(concept: np.ndarray, weights: Sequence[float]) -> np.ndarray | None:
    """What a prompt of each concept counts, so that the mean over all pairs is 1; None if all are alike."""
    of = np.array(weights, dtype=np.float64)
    return None if not len(concept) or (of == of[0]).all() else of / of[concept].mean()


def _parts(rows: np.ndarray, sources: Sequence[str], shares: Mapping[str, float]) -> tuple[Part, ...]:
    """How draws from ``rows`` are shared out; () if none has a share. What has no share of its own gets the
    rest, and that of sources without rows."""
    found = [name for name in shares if name in sources]
    if not found:
        return ()
    own = {name: Part(rows[[source == name for source in sources]], shares[name]) for name in found}
    others = rows[[source not in own for source in sources]]
    rest = Part(others, 1 - sum(part.share for part in own.values()))
    return (rest, *own.values()) if len(others) else tuple(own.values())


def read_lengths(
    table: PromptTable, rows: np.ndarray, family: str, *, whole: bool, margin: int, buckets: int = 1
) -> dict[str, int]:
    """How many positions of each encoder a step reads: a multiple of ``buckets``, or all.

    All of them; or, where the encoder is causal, as many as three quarters of the prompts have and ``margin``
    more. The ends of longer prompts wait for a step that reads all. Where only the pooled output is read
    (FLUX), every prompt's end must be there. Where the denoiser reads no pads (`Family.ends_with_prompt`),
    "all" ends behind the longest prompt.
    """
    out, index = {}, torch.from_numpy(rows)
    reader = FAMILIES.get(family)
    for name, parts in table.tokens.items():
        full = parts["input_ids"].shape[1]
        if name in reader.ends_with_prompt and bool(parts["attention_mask"][index, 0].all()):
            # Chroma's denoiser reads the first pad.
            full = min(full, int(table.lengths[name][index].max()) + max(1, margin))
        # Where padding comes first, a prefix holds none of the prompt.
        cut = not whole and name in reader.causal and bool(parts["attention_mask"][index, 0].all())
        lengths = table.lengths[name][index].float()
        # A pooled output is taken at the end token: cut before it, and another position would be pooled.
        wanted = lengths.max() if reader.reads_end_token else lengths.quantile(0.75)
        read = math.ceil((math.ceil(float(wanted)) + margin) / buckets) * buckets
        out[name] = min(full, read) if cut else full
    return out


@dataclass
class Teacher:
    """The original encoder's pieces on rows of a table, from where they are kept if that fits and pays.

    ``at_once``: rows that go through together where nothing is kept. ``counted``: names of the pieces that
    losses read, None = all; the others are not kept, and `whole` alone gives them. ``processes``: that share
    the machine's memory. ``shelves``: what is kept, on the device and in the host's memory.
    """

    bundle: EncoderBundle
    table: PromptTable
    device: torch.device
    config: TrainConfig
    autocast: torch.dtype | None = None
    at_once: int = BATCH
    counted: frozenset[str] | None = None
    processes: int = 1
    shelves: list[Shelf] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pace = self.config.pace(self.device, self.autocast, self.processes)
        self.shelves = Shelf.pair(self.device, len(self.table.texts), self.pace.kept_as)

    def keep(self, rows: np.ndarray, each_step: int) -> None:
        """Compute the outputs of ``rows`` beforehand where that is cheaper than at each step: anchors are few
        and read often, safe texts the other way round.

        Args:
            rows: row numbers; repeats do not count.
            each_step: how many of them a step reads.
        """
        if len(rows):
            whole = 1 / self.config.whole_every
            # A step that reads a prefix costs about a third of one that reads all.
            reads = self.config.steps * each_step * (whole + (1 - whole) / 3)
            self.fill(rows, self.config.cache_gb * 1e9, reads)

    def fill(self, rows: np.ndarray, device_bytes: float, reads: float) -> bool:
        """Compute the outputs of ``rows`` once, if they fit and that is cheaper. Returns whether they are
        kept now.

        Args:
            rows: row numbers; repeats do not count.
            device_bytes: what all that is kept on the device may take.
            reads: how many rows of them training will read, a row that is read in part counting in part.
        """
        rows = np.unique(rows)
        rows = rows[np.logical_and.reduce([shelf.slot[rows] < 0 for shelf in self.shelves])]
        if not len(rows):
            return True
        first = self._counted(rows[:1])
        for shelf, most in zip(self.shelves, (device_bytes, self.pace.host_bytes), strict=True):
            if shelf.held_bytes + shelf.bytes_of(first) * len(rows) <= most and reads > len(rows):
                shelf.add(rows, (self._counted(rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)))
                return True
        return False

    def read(
        self, rows: np.ndarray, lengths: Mapping[str, int], names: Collection[str] | None = None
    ) -> Pieces:
        """Pieces of ``rows``, cut to ``lengths`` (all positions where absent): those that count, or ``names``
        of them."""
        names = self.counted if names is None else names
        reader = FAMILIES.get(self.bundle.family)
        shelved = next((shelf.pieces for shelf in self.shelves if shelf.pieces), {})
        kept = read_all(
            self.shelves,
            rows,
            lambda name, t: _cut(name, t, lengths, reader),
            [name for name in shelved if names is None or name in names],
            self.device,
        )
        return self._computed(rows, lengths, names) if kept is None else kept

    def whole(self, rows: np.ndarray, lengths: Mapping[str, int]) -> Pieces:
        """As `read`, but of all encoders, those too that stay as they are: what a denoiser reads."""
        return self.read(rows, lengths) if self.counted is None else self._computed(rows, lengths)

    def _computed(
        self, rows: np.ndarray, lengths: Mapping[str, int], names: Collection[str] | None = None
    ) -> Pieces:
        starts = range(0, max(1, len(rows)), self.at_once)
        parts = [self._run(rows[i : i + self.at_once], lengths) for i in starts]
        return {
            name: parts[0][name] if len(parts) == 1 else torch.cat([p[name] for p in parts])
            for name in parts[0]
            if names is None or name in names
        }

    @torch.no_grad()
    def run(self, tokens: Tokens) -> Pieces:
        """Pieces of any tokens on the device, in fp32."""
        with torch.autocast(self.device.type, self.autocast) if self.autocast else nullcontext():
            return {name: t.float() for name, t in self.bundle(tokens).items()}

    def _run(self, rows: np.ndarray, lengths: Mapping[str, int]) -> Pieces:
        return self.run(self.table.pick(rows, lengths, self.device))

    def _counted(self, rows: np.ndarray) -> Pieces:
        pieces = self._run(rows, {})
        return {name: t for name, t in pieces.items() if self.counted is None or name in self.counted}


def _cut(name: str, piece: Tensor, lengths: Mapping[str, int], reader: Family) -> Tensor:
    owner = piece_owner(name)
    if piece.ndim != 3 or owner not in lengths:
        return piece
    return piece[:, : reader.positions(owner, lengths[owner])]
