// Generated from tb_gradscope/view/schema.py, do not edit:
// python -m tb_gradscope.view.schema_ts plugin_frontend/src/api/schema.gen.ts

/** What the statistic `state` may be. */
export const STATES = {
  absent: -1,
  ok: 0,
  none: 1,
  zero: 2,
  nan: 3,
  inf: 4,
} as const;
/** The statistics, in the order of the last axis. */
export const STATISTICS = [
  "state",
  "norm",
  "max_abs",
  "mean",
  "std",
  "zero_fraction",
  "nan_count",
  "inf_count",
  "variable_norm",
] as const;
/** A clip site's numbers, in order. */
export const CLIP_STATISTICS = [
  "threshold",
  "norm_before",
  "norm_after",
  "scale",
] as const;
/** An optimizer's own numbers, in order. */
export const OPTIMIZER_STATISTICS = [
  "loss_scale",
  "learning_rate",
] as const;
/** The bits of the NaN in place of a statistic that was not measured. */
export const UNMEASURED = 0x7fc00002 as const;

/** A line of the user's program. `code` is empty where it is not to be had. */
export interface Place {
  file: string;
  line: number;
  function: string;
  code: string;
}

/**
 * Which gradient the numbers are of.
 *
 * `text` says it in words, `subtitle` only what tells it from others of its name:
 * "replica 0 of 2", "accumulated", mostly nothing. `replica` is -1 for what is
 * reduced over all.
 */
export interface Label {
  stage: "raw" | "unscaled";
  batch: "whole" | "micro_batch" | "accumulated";
  replicas: number;
  replica: number;
  sparse: boolean;
  step_source: "user" | "calls";
  text: string;
  subtitle: string;
}

/** A run in few words. Steps are -1 where nothing is recorded; `missing` counts pairs. */
export interface RunSummary {
  name: string;
  losses: number;
  variables: number;
  clips: number;
  optimizers: number;
  cosines: number;
  first_step: number;
  last_step: number;
  missing: number;
  last_wall_time: number;
}

/** All runs. `unchanged` and no runs where `since` is still the current token. */
export interface Index {
  token: string;
  unchanged: boolean;
  runs: RunSummary[];
}

/**
 * A loss: a column of the matrix.
 *
 * `id` is unique in the run and names it in queries and links: its name, and
 * what of its label tells it from others of that name. `total` is the position of
 * the loss that this one is a summand of, -1 if there is none.
 *
 * `variables` are positions in the run's variables. `steps` and `calls` have one
 * entry for each record at hand; `records` also counts those that sampling
 * dropped. `traced_only`: tracing was seen, but no number ever came. `watched`:
 * a sentinel looked at all calls that are not recorded. `nonfinite`: calls known
 * with NaN or Inf. `loss_scales`: of each record, -1 where not finite; none where
 * all are 1. `skipped_steps`: where an optimizer left out the update because the
 * loss scale had overflowed, so that NaN and Inf there are no fault.
 */
export interface Loss {
  id: string;
  name: string;
  part_of: string;
  total: number;
  where: Place | null;
  label: Label;
  variables: number[];
  steps: number[];
  calls: number[];
  records: number;
  traced_only: boolean;
  watched: boolean;
  nonfinite: number;
  loss_scales: number[];
  skipped_steps: number[];
}

/**
 * An optimizer: a column of the matrix, behind the losses.
 *
 * `id`, `variables` and `steps` as a loss's. `calls`, `applied` and `skipped` are
 * cumulative, one entry for each record. `skipped_steps`: where the update was
 * left out because the loss scale had overflowed. `accumulation`: micro-batches
 * to one update.
 */
export interface Optimizer {
  id: string;
  name: string;
  class_name: string;
  where: Place | null;
  label: Label;
  accumulation: number;
  has_loss_scale: boolean;
  variables: number[];
  steps: number[];
  calls: number[];
  applied: number[];
  skipped: number[];
  skipped_steps: number[];
}

/** Two losses, by their ids, whose gradients were compared on the `variables` they share. */
export interface Cosine {
  one: string;
  other: string;
  variables: number[];
  steps: number[];
}

/** What gradients were asked for. `size` is -1 where a dimension is unknown. */
export interface Variable {
  name: string;
  layer: string;
  dtype: string;
  shape: number[];
  kind: "variable" | "tensor";
  trainable: boolean;
  size: number;
}

/**
 * A clip site. `calls`, `clipped` and `nonfinite` are cumulative, one entry for each record.
 *
 * They are of all calls if `counts_every_call`, else of those recorded.
 * `after` names the clip site whose output is clipped again here, or is empty.
 * `id` as a loss's. The label's `text` says in sentences where among all that
 * happens to gradients this is, or is empty.
 */
export interface Clip {
  id: string;
  name: string;
  method: "norm" | "value" | "global_norm" | "custom";
  after: string;
  where: Place | null;
  label: Label;
  variables: string[];
  steps: number[];
  calls: number[];
  clipped: number[];
  nonfinite: number[];
  counts_every_call: boolean;
}

/**
 * Gradients that were None: the variables of one loss that share one fate.
 *
 * `loss` is its id. `count` of the `asked` records had None. `pattern`: "always", "from" a
 * step on
 * and ever since, or "on_and_off".
 */
export interface Missing {
  loss: string;
  variables: string[];
  first_step: number;
  last_step: number;
  pattern: "always" | "from" | "on_and_off";
  count: number;
  asked: number;
  where: Place | null;
}

/**
 * Gradients that held NaN or Inf: the variables of one loss that share one fate.
 *
 * `loss` is its id. `count` of the `asked` records were so, `first_step` and
 * `last_step` the first and the last of them. `exact`: the sentinel watched, so that
 * none can have been before. `pattern`: "always", "from" a step on and ever since,
 * "on_and_off", or "once" where only one record was and others came after it. A
 * gradient that holds both is "nan". What an optimizer skipped is no such entry.
 */
export interface Nonfinite {
  loss: string;
  variables: string[];
  state: "nan" | "inf";
  first_step: number;
  last_step: number;
  pattern: "always" | "from" | "on_and_off" | "once";
  count: number;
  asked: number;
  exact: boolean;
  where: Place | null;
}

/**
 * A loss whose gradients were not finite at steps that an optimizer skipped: no fault.
 *
 * `loss` is its id. `records` is how many records of any one variable were so, at most.
 */
export interface Overflow {
  loss: string;
  variables: number;
  records: number;
  steps: number[];
}

/**
 * A record that the sentinel made, because something began at its step.
 *
 * `loss` is its id. `kind`: a gradient became "nonfinite", a norm made a "spike", or
 * the loss scale overflowed, so that the step was "skipped". `direction`: where the norm
 * of a spike went, empty where it is not known, and of others. Of the variables it is
 * about, the first few are named, those that went farthest first; `more` counts the
 * others.
 */
export interface Mark {
  step: number;
  kind: "nonfinite" | "spike" | "skipped";
  direction: "up" | "down" | "";
  loss: string;
  variables: string[];
  more: number;
}

/**
 * All of a run but its numbers. `steps` are those of any loss or optimizer, sorted.
 *
 * `nonfinite` is ordered by first step, `marks` by step.
 */
export interface Run {
  name: string;
  token: string;
  statistics: string[];
  steps: number[];
  losses: Loss[];
  variables: Variable[];
  clips: Clip[];
  optimizers: Optimizer[];
  cosines: Cosine[];
  missing: Missing[];
  nonfinite: Nonfinite[];
  overflows: Overflow[];
  marks: Mark[];
  problems: string[];
}

/**
 * Something that is wrong with a run, or worth knowing.
 *
 * `loss` is its id, empty where it is of none; `other_loss` the id of the second loss
 * of a conflict or domination, of one that reaches variables that this one does not,
 * or whose NaN or Inf this one follows from. `cause`: kind "none" only, else empty.
 * `message` says all of it in a sentence, `advice` what to try. `op`: the operation at
 * that line that matters, or empty. `threshold`: what its numbers passed, by its name
 * in THRESHOLDS, or empty, and `limit` the value that it had.
 */
export interface Finding {
  severity: "error" | "warning" | "info";
  kind: string;
  cause: string;
  loss: string;
  other_loss: string;
  variables: string[];
  first_step: number;
  last_step: number;
  message: string;
  advice: string;
  where: Place | null;
  op: string;
  threshold: string;
  limit: string;
}

/** All that is wrong with a run, worst first. */
export interface Findings {
  findings: Finding[];
}

/**
 * What findings compare numbers with; a parameter of `findings`.
 *
 * `meaning`: the kinds of finding it is for, and what is compared with it. `high`: null
 * where there is no bound. `whole`: only whole numbers make sense.
 */
export interface Threshold {
  name: string;
  default: number;
  unit: string;
  meaning: string;
  low: number;
  high: number | null;
  whole: boolean;
}

/** All thresholds, in the order of the report's flags. */
export const THRESHOLDS: readonly Threshold[] = [
  {"name": "min_records", "default": 5, "unit": "records", "meaning": "fewer records than this are not judged, except for None, NaN and Inf", "low": 1, "high": null, "whole": true},
  {"name": "spike", "default": 100.0, "unit": "times", "meaning": "exploding: a norm so many times the median of the records before it", "low": 1, "high": null, "whole": false},
  {"name": "spike_deviations", "default": 8.0, "unit": "deviations", "meaning": "exploding: and so many deviations (of the logarithm) above it", "low": 0, "high": null, "whole": false},
  {"name": "growth", "default": 100.0, "unit": "times", "meaning": "exploding: a norm that has grown so many times, and still grows", "low": 1, "high": null, "whole": false},
  {"name": "initial", "default": 1000.0, "unit": "times", "meaning": "exploding: first norms so many times what follows and the variable's own", "low": 1, "high": null, "whole": false},
  {"name": "vanishing", "default": 1000.0, "unit": "times", "meaning": "vanishing: kernels near the input have so many times less than near the loss", "low": 1, "high": null, "whole": false},
  {"name": "vanished", "default": 1e-09, "unit": "", "meaning": "vanishing: root mean square of all gradients below this (Adam's epsilon is 1e-7)", "low": 0, "high": null, "whole": false},
  {"name": "zero_records", "default": 10, "unit": "records", "meaning": "zero: a warning from so many records in a row on where it may pass", "low": 1, "high": null, "whole": true},
  {"name": "clip_saturated", "default": 0.5, "unit": "of 1", "meaning": "clip_saturated: fraction of steps clipped (Google's Tuning Playbook)", "low": 0, "high": 1, "whole": false},
  {"name": "clip_scale", "default": 0.01, "unit": "of 1", "meaning": "clip_saturated: a warning where clipping leaves less than this of the norm", "low": 0, "high": 1, "whole": false},
  {"name": "clip_never", "default": 0.1, "unit": "of 1", "meaning": "clip_never: the largest norm stays below this fraction of the threshold", "low": 0, "high": 1, "whole": false},
  {"name": "clip_never_calls", "default": 100, "unit": "calls", "meaning": "clip_never: not before so many calls", "low": 1, "high": null, "whole": true},
  {"name": "conflict", "default": -0.3, "unit": "", "meaning": "conflict: cosine of two losses below this (PCGrad: below 0)", "low": -1, "high": 0, "whole": false},
  {"name": "conflict_fraction", "default": 0.8, "unit": "of 1", "meaning": "conflict, domination: in at least this fraction of the records", "low": 0, "high": 1, "whole": false},
  {"name": "domination", "default": 1000.0, "unit": "times", "meaning": "domination: a loss's norm so many times the other's on shared variables", "low": 1, "high": null, "whole": false},
  {"name": "update_large", "default": 0.1, "unit": "of 1", "meaning": "update_ratio: updates above this fraction of the variable's norm (CS231n: 1e-3)", "low": 0, "high": null, "whole": false},
  {"name": "update_small", "default": 1e-07, "unit": "of 1", "meaning": "update_ratio: updates below this fraction of the variable's norm (CS231n: 1e-3)", "low": 0, "high": null, "whole": false},
];

/** The routes: what to ask, what is answered. */
export interface Routes {
  /** All runs. */
  index: { query: { since?: string }; answer: Index };
  /** One run, all but its numbers. */
  run: { query: { run: string }; answer: Run };
  /** What is wrong with one run, judged by the thresholds given and the defaults of the rest. */
  findings: { query: { run: string; min_records?: number; spike?: number; spike_deviations?: number; growth?: number; initial?: number; vanishing?: number; vanished?: number; zero_records?: number; clip_saturated?: number; clip_scale?: number; clip_never?: number; clip_never_calls?: number; conflict?: number; conflict_fraction?: number; domination?: number; update_large?: number; update_small?: number }; answer: Findings };
  /**
   * [loss or optimizer, variable, statistic + 1] over the run's losses, then its optimizers,
   * of the latest record at or before the step that has the variable. Behind the statistics:
   * that record's position in the steps of the loss or optimizer, or -1. Absent pairs: state
   * -1, the rest NaN. A NaN of the bits UNMEASURED: not measured.
   */
  matrix: { query: { run: string; step: number }; answer: Float32Array };
  /**
   * For each loss that has the variable, then each optimizer, in the run's order: [record,
   * statistic]. A NaN of the bits UNMEASURED: not measured.
   */
  series: { query: { run: string; variable: string }; answer: Float32Array };
  /**
   * [record]: L2 norm of the loss's whole gradient; NaN or Inf where any part is. -1 where
   * every gradient asked for was None, -2 where only tracing was seen.
   */
  loss: { query: { run: string; loss: string }; answer: Float32Array };
  /** [record]: as `loss`, of all that reached an optimizer. */
  reached: { query: { run: string; optimizer: string }; answer: Float32Array };
  /**
   * [record, CLIP_STATISTICS], then [record, variable, 2]: L2 norms before and after, NaN
   * where the gradient was None or is not in the record.
   */
  clip: { query: { run: string; site: string }; answer: Float32Array };
  /**
   * [record, OPTIMIZER_STATISTICS], then [record, variable, 2]: L2 norm of the update and of
   * the variable before it; NaN where not known. A variable's of the bits UNMEASURED: neither
   * was measured.
   */
  optimizer: { query: { run: string; optimizer: string }; answer: Float32Array };
  /**
   * For each entry of the run's cosines: [record], cosine of the two gradients over all
   * variables they share; NaN where not known.
   */
  cosines: { query: { run: string }; answer: Float32Array };
  /** [record, variable]: cosine of two losses' gradients; NaN where not known. */
  cosine: { query: { run: string; one: string; other: string }; answer: Float32Array };
}
