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

/** A line of the user's program. `code` is empty where it is not to be had. */
export interface Place {
  file: string;
  line: number;
  function: string;
  code: string;
}

/** Which gradient the numbers are of. `text` says it in words. */
export interface Label {
  stage: "raw" | "unscaled";
  batch: "whole" | "micro_batch" | "accumulated";
  replicas: number;
  replica: number;
  sparse: boolean;
  step_source: "user" | "calls";
  text: string;
}

/** A run in few words. Steps are -1 where nothing is recorded; `missing` counts pairs. */
export interface RunSummary {
  name: string;
  losses: number;
  variables: number;
  clips: number;
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
 * A row of the matrix.
 *
 * `variables` are positions in the run's variables. `steps` and `calls` have one
 * entry for each record at hand; `records` also counts those that sampling
 * dropped. `traced_only`: tracing was seen, but no number ever came.
 */
export interface Loss {
  name: string;
  where: Place | null;
  label: Label;
  variables: number[];
  steps: number[];
  calls: number[];
  records: number;
  traced_only: boolean;
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
 * `after` names the clip site whose output is clipped again here, or is empty.
 */
export interface Clip {
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
}

/**
 * Gradients that were None: the variables of one loss that share one fate.
 *
 * `count` of the `asked` records had None. `pattern`: "always", "from" a step on
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
 * `count` of the `asked` records were so, `first_step` and `last_step` the first
 * and the last of them. `pattern`: "always", "from" a step on and ever since,
 * "on_and_off", or "once" where only one record was and others came after it. A
 * gradient that holds both is "nan".
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
  where: Place | null;
}

/**
 * All of a run but its numbers. `steps` are those of any loss, sorted.
 *
 * `nonfinite` is ordered by first step.
 */
export interface Run {
  name: string;
  token: string;
  statistics: string[];
  steps: number[];
  losses: Loss[];
  variables: Variable[];
  clips: Clip[];
  missing: Missing[];
  nonfinite: Nonfinite[];
  problems: string[];
}

/** The routes: what to ask, what is answered. */
export interface Routes {
  /** All runs. */
  index: { query: { since?: string }; answer: Index };
  /** One run, all but its numbers. */
  run: { query: { run: string }; answer: Run };
  /**
   * [loss, variable, statistic + 1] over the run's losses and variables, of the latest record
   * at or before the step that has the variable. Behind the statistics: that record's position
   * in the loss's steps, or -1. Absent pairs: state -1, the rest NaN.
   */
  matrix: { query: { run: string; step: number }; answer: Float32Array };
  /** For each loss that has the variable, in the run's order: [record, statistic]. */
  series: { query: { run: string; variable: string }; answer: Float32Array };
  /**
   * [record]: L2 norm of the loss's whole gradient; NaN or Inf where any part is. -1 where
   * every gradient asked for was None, -2 where only tracing was seen.
   */
  loss: { query: { run: string; loss: string }; answer: Float32Array };
  /**
   * [record, CLIP_STATISTICS], then [record, variable, 2]: L2 norms before and after, NaN
   * where the gradient was None or is not in the record.
   */
  clip: { query: { run: string; site: string }; answer: Float32Array };
}
